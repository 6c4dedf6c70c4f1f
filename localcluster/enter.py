"""Run one command inside a box's namespaces: `python -I -S enter.py <pid of the box's init> <command…>`.

nsenter(1) would do but for one thing: a process that joins another PID namespace needs a child to be in it, and nsenter
neither hands signals on to that child nor takes it along when it is killed. This does both, so that `Popen.terminate()`
and `.kill()` mean what they say and the status that comes back is the command's own. A box starts a dozen of these:
nothing but the standard library, and no site-packages.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys

PR_SET_PDEATHSIG = 1
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x00020000, 0x10000000, 0x20000000, 0x40000000
FORWARDED = {
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
}
EXIT_NO_NAMESPACE, EXIT_NOT_STARTED = 125, 127


def join(init_pid: int) -> None:
    """Move this process into the namespaces of `init_pid`; the working directory stays the same.

    For the PID namespace that holds for children only, as setns(2) says.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    here = os.getcwd()
    target = os.pidfd_open(init_pid)
    try:
        if libc.setns(target, CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWNS) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"setns: {os.strerror(number)}")
    finally:
        os.close(target)
    os.chdir(here)


def become(argv: list[str], alive: int) -> None:
    """The child's side: die with the parent, then become the command. `alive` ends once the parent died."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if select.select([alive], [], [], 0)[0]:  # it died before the line above: nobody would tell us any more
        os._exit(EXIT_NO_NAMESPACE)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and what is ignored stays so across exec
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        print(f"{argv[0]}: {error.strerror}", file=sys.stderr, flush=True)
    os._exit(EXIT_NOT_STARTED)


def main() -> None:
    init_pid, argv = int(sys.argv[1]), sys.argv[2:]
    try:
        join(init_pid)
    except OSError as error:
        print(f"cannot enter the box: {error.strerror or error}", file=sys.stderr)
        sys.exit(EXIT_NO_NAMESPACE)
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED | {signal.SIGCHLD})
    alive, _kept_open = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(_kept_open)
        become(argv, alive)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):  # else a reader of the command's output would wait for us
        os.dup2(nowhere, standard)
    while True:
        info = signal.sigwaitinfo(FORWARDED | {signal.SIGCHLD})
        if info.si_signo != signal.SIGCHLD:
            if info.si_code <= 0:  # from a process; what the terminal sends, the command got itself
                os.kill(child, info.si_signo)
            continue
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid == child and (os.WIFEXITED(status) or os.WIFSIGNALED(status)):
            break
    code = os.waitstatus_to_exitcode(status)
    if code < 0:  # end the same way, so that Popen.returncode tells which signal it was
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        os.kill(os.getpid(), -code)
    os._exit(code & 0xFF)


if __name__ == "__main__":
    main()
