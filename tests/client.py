#!/usr/bin/python3
# client.py - an independent ZooKeeper client (kazoo) that stays connected and takes the tests' commands
#
# Started once per test file by zk_start; prints the TCP port that it listens on. A request is one connection:
# NUL-terminated words (the session's name, the root below which paths are, the command and its arguments),
# then an empty word. The answer is a line with the exit status, then the output. See zkcli in helper.bash.
import os
import re
import signal
import socket
import socketserver
import sys
import threading
import time

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.security import ACL, Id, Permissions

STAT = (
    "czxid", "mzxid", "ctime", "mtime", "version", "cversion", "aversion",
    "ephemeralOwner", "dataLength", "numChildren", "pzxid",
)
LETTERS = (
    (Permissions.CREATE, "c"), (Permissions.DELETE, "d"), (Permissions.READ, "r"),
    (Permissions.WRITE, "w"), (Permissions.ADMIN, "a"),
)
BURST = 500  # requests on the wire at once

hosts = sys.argv[1]
sessions = {}
sessions_lock = threading.Lock()


def session(name):
    with sessions_lock:
        if name not in sessions:
            zk = KazooClient(
                hosts, timeout=10, randomize_hosts=False,
                connection_retry={"max_tries": -1, "delay": 0.02, "max_delay": 0.2},
                command_retry={"max_tries": -1, "delay": 0.02, "max_delay": 0.2},
            )
            zk.start(timeout=20)
            sessions[name] = zk
        return sessions[name]


def acl_text(acl):
    letters = "".join(letter for bit, letter in LETTERS if acl.perms & bit)
    return f"{acl.id.scheme}:{acl.id.id}:{letters}"


def acl_parse(text):
    scheme, ident, letters = text.split(":")[0], ":".join(text.split(":")[1:-1]), text.split(":")[-1]
    return ACL(sum(bit for bit, letter in LETTERS if letter in letters), Id(scheme, ident))


def burst(calls):
    """Runs asynchronous calls in order, a few hundred on the wire at once; all must succeed."""
    waiting = []
    for call in calls:
        waiting.append(call())
        if len(waiting) >= BURST:
            waiting.pop(0).get(timeout=60)
    for result in waiting:
        result.get(timeout=60)


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        words = []
        while True:
            word = b""
            while True:
                byte = self.rfile.read(1)
                if byte in (b"", b"\0"):
                    break
                word += byte
            if byte == b"" or word == b"\1":
                break
            words.append(word)
        name, self.root = words[0].decode(), words[1].decode()
        command, args = words[2].decode(), words[3:]
        try:
            status, out = 0, getattr(self, "do_" + command)(session(name), name, args)
        except KazooException as e:
            status, out = 1, type(e).__name__.encode() + b"\n"
        except Exception as e:  # a mistake in a test
            status, out = 2, repr(e).encode() + b"\n"
        if isinstance(out, str):
            out = out.encode()
        self.wfile.write(b"%d\n" % status + (out or b""))

    def path(self, word):
        path = self.root + (word.decode() if isinstance(word, bytes) else word)
        return path.rstrip("/") or "/"

    def do_create(self, zk, _, args):
        """create [-s] [-e] [-p] PATH [DATA]: NULL without DATA; prints what was made"""
        flags = set()
        while args and args[0] in (b"-s", b"-e", b"-p"):
            flags.add(args.pop(0))
        data = args[1] if len(args) > 1 else None
        made = zk.retry(
            zk.create, self.path(args[0]), data,
            sequence=b"-s" in flags, ephemeral=b"-e" in flags, makepath=b"-p" in flags,
        )
        return made[len(self.root):] + "\n"

    def do_set(self, zk, _, args):
        """set PATH [DATA]: NULL without DATA"""
        zk.retry(zk.set, self.path(args[0]), args[1] if len(args) > 1 else None)

    def do_get(self, zk, _, args):
        return zk.retry(zk.get, self.path(args[0]))[0]

    def do_isnull(self, zk, _, args):
        return "null\n" if zk.retry(zk.get, self.path(args[0]))[0] is None else "data\n"

    def do_exists(self, zk, _, args):
        return "yes\n" if zk.retry(zk.exists, self.path(args[0])) else "no\n"

    def do_delete(self, zk, _, args):
        zk.retry(zk.delete, self.path(args[0]))

    def do_deleteall(self, zk, _, args):
        zk.retry(zk.delete, self.path(args[0]), recursive=True)

    def do_ls(self, zk, _, args):
        names = sorted(zk.retry(zk.get_children, self.path(args[0])))
        return "".join(name + "\n" for name in names)

    def do_stat(self, zk, _, args):
        """stat PATH: FIELD=VALUE lines, all decimal"""
        stat = zk.retry(zk.exists, self.path(args[0]))
        if stat is None:
            return "absent\n"
        return "".join(f"{f}={v}\n" for f, v in zip(STAT, stat))

    def do_getacl(self, zk, _, args):
        return ",".join(acl_text(a) for a in zk.retry(zk.get_acls, self.path(args[0]))[0]) + "\n"

    def do_setacl(self, zk, _, args):
        acls = [acl_parse(a) for a in args[1].decode().split(",")]
        zk.retry(zk.set_acls, self.path(args[0]), acls)

    def do_creates(self, zk, _, args):
        """creates DIR COUNT [PREFIX]: PREFIX0... with the number as data"""
        path, count = self.path(args[0]), int(args[1])
        prefix = args[2].decode() if len(args) > 2 else "n"
        burst(
            (lambda i=i: zk.create_async(f"{path}/{prefix}{i}", b"%d" % i))
            for i in range(count)
        )

    def do_sets(self, zk, _, args):
        """sets PATH COUNT: 1...COUNT as data, one after the other"""
        path = self.path(args[0])
        burst((lambda i=i: zk.set_async(path, b"%d" % i)) for i in range(1, int(args[1]) + 1))

    def do_transaction(self, zk, _, args):
        """transaction WORD PATH ... of: create, delete; in one multi"""
        t = zk.transaction()
        for kind, path in zip(args[::2], args[1::2]):
            if kind == b"create":
                t.create(self.path(path), b"")
            else:
                t.delete(self.path(path))
        for result in t.commit():
            if isinstance(result, KazooException):
                raise result

    def do_tree(self, zk, _, args):
        """tree PATH: every path below with version and data"""
        lines = []

        def walk(path):
            for name in sorted(zk.retry(zk.get_children, path)):
                child = path.rstrip("/") + "/" + name
                data, stat = zk.retry(zk.get, child)
                lines.append(f"{child[len(self.root):]} {stat.version} {data!r}\n")
                walk(child)

        walk(self.path(args[0]))
        return "".join(lines)

    def do_expire(self, _zk, _name, args):
        """expire PID SESSION: stops the process until the server has given up its session"""
        pid, lost = int(args[0]), args[1]
        os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(6000):
                with socket.create_connection(hosts.split(":")) as s:
                    s.sendall(b"dump")
                    dump = b"".join(iter(lambda: s.recv(65536), b""))
                if b"SessionTracker" in dump and not re.search(rb"\b" + lost + rb"\b", dump):
                    return
                time.sleep(0.01)
            raise TimeoutError("the session does not expire")
        finally:
            os.kill(pid, signal.SIGCONT)

    def do_close(self, _zk, name, _args):
        """close: end this session, its ephemeral znodes go"""
        with sessions_lock:
            zk = sessions.pop(name)
        zk.stop()
        zk.close()


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


with Server(("127.0.0.1", 0), Handler) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
