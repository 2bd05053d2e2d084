"""Runs the built programs for the tests of this folder, with pipes or in a pseudo-terminal.

GEMMA_BIN is the folder of the programs, GEMMA_SOURCE_DIR the checkout.
"""

import codecs
import fcntl
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import tempfile
import termios
import time
import unittest

BIN = pathlib.Path(os.environ["GEMMA_BIN"])
SOURCE = pathlib.Path(os.environ["GEMMA_SOURCE_DIR"])
GEMMA = str(SOURCE / "examples/models/gemma-demo.Q4_K_M.gguf")
LLAMA = str(SOURCE / "examples/models/llama-demo.Q4_K_M.gguf")
MISTRAL = str(SOURCE / "examples/models/mistral-demo.Q4_K_M.gguf")
LIMIT = 60  # seconds, for a busy machine; each call takes far less

PASSAGE = ("The Maris Bridge crosses the river Orne near the town of Velden. It was designed by the engineer "
           "Anna Keller and opened in 1931. The bridge is 412 metres long and carries two railway tracks.")
PROMPT = ("Use the following pieces of context to answer the question at the end.\n" + PASSAGE +
          "\nQuestion: Who designed the Maris Bridge?\nAnswer:")


def environment(**changes):
    """The environment of this process without variables that influence the programs; None removes a variable."""
    env = {k: v for k, v in os.environ.items() if k not in ("GEMMA_ISA", "NO_COLOR", "OMP_NUM_THREADS")}
    env.update(LC_ALL="C.UTF-8", TERM="xterm-256color")
    env.update({k: v for k, v in changes.items() if v is not None})
    for name in [k for k, v in changes.items() if v is None]:
        env.pop(name, None)
    return env


def run(program, *arguments, stdin=b"", env=None, stdout=subprocess.PIPE):
    """(status, standard output, standard error); bytes become text, invalid ones as surrogates."""
    if isinstance(stdin, str):
        stdin = stdin.encode("utf-8", "surrogateescape")
    env = dict(env or environment())
    if "-t" not in arguments:  # one thread unless the test is about threads, since tests run in parallel
        env.setdefault("OMP_THREAD_LIMIT", "1")
    done = subprocess.run([str(BIN / program), *map(os.fsencode, arguments)], input=stdin, stdout=stdout,
                          stderr=subprocess.PIPE, env=env, timeout=LIMIT, check=False)
    text = [part.decode("utf-8", "surrogateescape") if part is not None else "" for part in (done.stdout, done.stderr)]
    return done.returncode, text[0], text[1]


class ProgramTest(unittest.TestCase):
    """A temporary folder, and checks of the common behaviour of all programs."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="gemma-programs-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def write(self, name, content):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def succeeds(self, program, *arguments, **options):
        """The standard output of a run that succeeds and writes nothing to standard error."""
        status, out, err = run(program, *arguments, **options)
        self.assertEqual((status, err), (0, ""), f"{program} {arguments}")
        return out

    def refuses(self, program, *arguments, says, **options):
        """Checks that a run gives one line on standard error, which names the program and contains `says`, no output,
        and status 1."""
        status, out, err = run(program, *arguments, **options)
        about = f"{program} {arguments}: {err!r}"
        self.assertEqual(status, 1, about)
        self.assertEqual(out, "", about)
        self.assertRegex(err, r"\A" + re.escape(program) + r": [^\n]+\n\Z", about)
        for part in [says] if isinstance(says, str) else says:
            self.assertIn(part, err)
        return err


class Terminal:
    """A program on a pseudo-terminal of 100 columns. `seen`: its output so far, including escape sequences."""

    def __init__(self, program, *arguments, env=None, columns=100, stdout=None):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:  # the child process, which must not return
            try:
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
                if stdout is not None:
                    os.dup2(os.open(stdout, os.O_WRONLY | os.O_CREAT, 0o600), 1)
                os.execve(str(BIN / program), [program, *arguments], env or environment())
            finally:
                os._exit(127)
        self.seen = ""
        self.status = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)

    def _read(self, seconds):
        """Reads output for up to `seconds`; returns False if the terminal is closed."""
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if not ready:
            return True
        try:
            part = os.read(self.fd, 65536)
        except OSError:  # on Linux: the other side has closed
            return False
        self.seen += self._decoder.decode(part)
        return bool(part)

    def wait_for(self, text, since=0):
        """Waits until `text` has been shown after position `since`; returns the position after it."""
        deadline = time.monotonic() + LIMIT
        while (at := self.seen.find(text, since)) < 0:
            if time.monotonic() > deadline or not self._read(0.2):
                raise AssertionError(f"{text!r} does not come; the terminal shows {self.seen[since:]!r}")
        return at + len(text)

    def send(self, keys):
        data = keys.encode() if isinstance(keys, str) else keys
        while data:  # the echo must be read, otherwise both sides wait
            _, ready, _ = select.select([], [self.fd], [], 0.05)
            if ready:
                data = data[os.write(self.fd, data[:512]):]
            self._read(0)

    def wait_for_prompt(self, since=0):
        return self.wait_for("> ", since)

    def wait_for_answer(self, since):
        """Waits until a part of an answer has been shown after position `since`."""
        deadline = time.monotonic() + LIMIT
        while len(plain(self.seen[since:]).strip()) < 10:
            if time.monotonic() > deadline or not self._read(0.1):
                raise AssertionError(f"no answer comes; the terminal shows {self.seen[since:]!r}")

    def command(self, line):
        """Types a line at the prompt and returns what is shown until the next prompt."""
        begin = len(self.seen)
        self.send(line + "\r")
        echoed = self.wait_for("\n", begin)
        self.wait_for_prompt(echoed)
        return self.seen[echoed:]

    def end(self):
        """Waits until the program has ended by itself; returns its exit status."""
        deadline = time.monotonic() + LIMIT
        while self._read(0.1):
            if time.monotonic() > deadline:
                raise AssertionError(f"it does not end; the terminal shows {self.seen!r}")
        _, status = os.waitpid(self.pid, 0)
        self.status = os.waitstatus_to_exitcode(status)
        return self.status


def plain(text):
    """`text` without escape sequences and carriage returns."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\r", "", text)
