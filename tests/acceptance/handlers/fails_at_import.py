def prepare():
    return {}["missing"]


prepare()
