"""mappings.yaml: from text to a frozen, validated configuration, or to every mistake in it."""
