"""Programs that a test runs one after another, each in a fork of one process that has imported numba and no more.

A fork is a process of its own, as a new one is; what it spares is to import numba and LLVM, a second each time.
"""

import contextlib
import json
import os
import subprocess
import sys
import types


class Forks:
    """A process that forks for each program, started when the first is run."""

    server = None

    def run(self, code, folder, environment, keeps_bytecode):
        """Run a program there, and return a CompletedProcess, as `subprocess.run` does.

        Parameters
        ----------
        code : str
            The program.
        folder : path-like
            Where it is run; what it writes to stdout and stderr is left there, in files.
        environment : dict of str: str
            All variables of its environment. Those of numba but NUMBA_CACHE_DIR have been read by then.
        keeps_bytecode : bool
            Whether Python keeps compiled modules: not so under ``python -B``.
        """
        if self.server is None:
            kept = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "PYTHON"))}
            command = [sys.executable, __file__]
            pipe = subprocess.PIPE
            self.server = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=kept, cwd=folder)
        self.server.stdin.write(json.dumps([code, str(folder), environment, keeps_bytecode]) + "\n")
        self.server.stdin.flush()
        status = json.loads(self.server.stdout.readline())
        stdout, stderr = ((folder / name).read_text() for name in ("stdout", "stderr"))
        return subprocess.CompletedProcess("fork", status, stdout, stderr)

    def close(self):
        if self.server is not None:
            self.server.stdin.close()
            self.server.wait()
            self.server.stdout.close()


def serve():
    """Fork for each line of stdin, and answer with the exit status."""
    from numba.core.registry import cpu_target

    cpu_target.target_context.refresh()  # numba's types and LLVM's code generator: a second, at a first compilation
    cpu_target.target_context.codegen().magic_tuple()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            run_in_this_process(*json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def run_in_this_process(code, folder, environment, keeps_bytecode):
    """As ``python -c`` would, and end."""
    os.chdir(folder)
    for number, name in enumerate(("stdout", "stderr"), start=1):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    import numba

    numba.config.reload_config()
    sys.path[0] = ""
    sys.path[1:1] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.dont_write_bytecode = not keeps_bytecode
    sys.modules["__main__"] = module = types.ModuleType("__main__")
    status = 0
    try:
        exec(code, vars(module))
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        print(end, file=sys.stderr)
    except BaseException:
        status = 1
        with contextlib.suppress(Exception):
            sys.excepthook(*sys.exc_info())
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


if __name__ == "__main__":
    serve()
