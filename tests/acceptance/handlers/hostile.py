"""Handlers that misbehave, row by row (E1 to E24)."""

import asyncio
import ctypes
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time

MEGABYTE = 1024 * 1024


def raise_control_characters(event, context):
    raise ValueError("line\r\nnext \x1b[31mred")


def raise_huge_text(event, context):
    raise ValueError("x" * (50 * MEGABYTE))


def raise_surrogate(event, context):
    raise ValueError("lone \ud800")


def raise_without_str(event, context):
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    raise Odd


def exit_with(event, context):
    print("leaving")
    sys.exit(event)


def exit_at_once(event, context):
    os._exit(event)


def die_by(event, context):
    signal.signal(event, signal.SIG_DFL) if event not in (9, 19) else None
    os.kill(os.getpid(), event)
    time.sleep(30)


def segfault(event, context):
    ctypes.string_at(0)


def loop_for_ever(event, context):
    while True:
        pass


def ignore_sigterm(event, context):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(30)


def swallow_everything(event, context):
    while True:
        try:
            time.sleep(30)
        except BaseException:
            continue


def fork_bomb(event, context):
    """Bounded: 300 processes, each of its own session."""
    for _ in range(300):
        if os.fork() == 0:
            os.setsid()
            time.sleep(30)
            os._exit(0)
    print("300 forks")
    time.sleep(30)


def many_threads(event, context):
    stop = threading.Event()
    started = []
    try:
        for _ in range(5000):
            thread = threading.Thread(target=stop.wait)
            thread.start()
            started.append(thread)
    finally:
        stop.set()
        for thread in started:
            thread.join()


def some_threads(event, context):
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(300)]
    for thread in threads:
        thread.start()
    stop.set()
    return len(threads)


def allocate_at_once(event, context):
    return len(bytearray(2048 * MEGABYTE))


def grow(event, context):
    kept = []
    while True:
        kept.append(os.urandom(1024) * 8 * 1024)
        time.sleep(0.02)


def grow_in_child(event, context):
    code = "import time; kept = b'x' * (300 * 1024 * 1024); time.sleep(30)"
    subprocess.run([sys.executable, "-c", code], check=True)


def fork_sharing(event, context):
    """Ten children that share 60 MB with their parent: no more than 60 MB are used."""
    kept = b"x" * (60 * MEGABYTE)
    for _ in range(10):
        if os.fork() == 0:
            time.sleep(0.5)
            os._exit(0)
    time.sleep(0.5)
    return len(kept)


def flood_stdout(event, context):
    chunk = b"x" * 1023 + b"\n"
    for _ in range(200):
        os.write(1, chunk * 1024)
    return "done"


def close_descriptors(event, context):
    os.closerange(0, 65536)
    time.sleep(30)


def junk_everywhere(event, context):
    for fd in range(3, 2048):
        try:
            os.write(fd, b"junk" * 1000)
        except OSError:
            continue
    time.sleep(30)


def huge_frame(event, context):
    socket.socket(fileno=1000).sendall(b"\xe5\x00\x00\x00\x01\x00\x00\x00\x02\xff\xff\xff\xff{}")
    time.sleep(30)


def forged_answer(event, context):
    """A well-formed answer to an invocation that is not under way."""
    header = b'{"ok":true,"max_rss_kb":1}'
    prefix = b"\xe5\x00\x00\x00\x63" + len(header).to_bytes(4, "big") + b"\x00\x00\x00\x02"
    socket.socket(fileno=1000).sendall(prefix + header + b"{}")
    time.sleep(30)


def give(event, context):
    if event == "object":
        return object()
    if event == "set":
        return {1}
    if event == "circular":
        value = []
        value.append(value)
        return value
    if event == "deep":
        value = []
        for _ in range(5000):
            value = [value]
        return value
    if event == "large":
        return "x" * (7 * MEGABYTE)
    if event == "surrogate":
        return {"text": "\ud800"}
    if event == "generator":
        return (number for number in range(3))
    raise AssertionError(event)


async def generate(event, context):
    yield 1


def never_awaited(event, context):
    asyncio.sleep(1)
    return "not awaited"


def leave_daemon(event, context):
    """A grandchild in a session of its own, with our output pipe and our socket still open."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(60)
        os._exit(0)
    return "left a daemon"


def leave_daemon_and_sleep(event, context):
    leave_daemon(event, context)
    print("daemon runs", flush=True)
    time.sleep(60)


def leave_thread(event, context):
    def chatter():
        while True:
            print("still here")
            time.sleep(0.01)

    threading.Thread(target=chatter, daemon=True).start()
    return "left a thread"


def fork_and_return(event, context):
    """The child comes back through the runtime, as forgetful code lets it."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    return "parent" if pid else "child"


def change_process(event, context):
    found = {"cwd": os.getcwd(), "umask": os.umask(0o077), "kept": os.environ.get("KEPT")}
    os.chdir("/")
    os.environ["KEPT"] = "yes"
    return found


def write_large_file(event, context):
    path = os.path.join(os.environ["TMPDIR"], "large")
    with open(path, "wb") as file:
        file.truncate(event * MEGABYTE)
        file.seek(event * MEGABYTE)
        file.write(b"x")
    return "written"


def fill_tmp(event, context):
    for number in range(100):
        with open(os.path.join(os.environ["TMPDIR"], str(number)), "wb") as file:
            file.write(b"x" * MEGABYTE)
        time.sleep(0.02)
    time.sleep(30)


def open_many_files(event, context):
    return len([open("/dev/null") for _ in range(5000)])


def raise_base(event, context):
    raise {"interrupt": KeyboardInterrupt, "generator": GeneratorExit}[event](event)


class OwnExit(SystemExit):
    pass


def exit_subclass(event, context):
    raise OwnExit(4)


def attack_engine(event, context):
    """What isolation level 0 does not refuse; nothing is harmed."""
    zygote = os.getppid()
    found = {"sees_engine": os.path.exists(f"/proc/{zygote}")}
    with open(f"/proc/{zygote}/environ", "rb") as file:
        found["zygote_environment"] = sorted(
            entry.split(b"=")[0].decode() for entry in file.read().split(b"\0") if entry
        )
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    found["core"] = limits
    with open("/proc/self/status") as file:
        found["no_new_privs"] = "NoNewPrivs:\t1" in file.read()
    return found


def stop_zygote(event, context):
    os.kill(os.getppid(), signal.SIGSTOP)
    time.sleep(30)


def kill_zygote(event, context):
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(30)


def patch_everything(event, context):
    def broken(*arguments, **options):
        raise RuntimeError("patched")

    json.dumps = json.loads = json.JSONEncoder.encode = broken
    os.write = os.getpid = os.chdir = os.umask = time.time = broken
    socket.socket.sendall = socket.socket.recv = broken
    sys.stdout = sys.stderr = None
    return event


def replace_own_code(event, context):
    with open(__file__, "a") as file:
        file.write("\n# changed\n")
    return "changed"
