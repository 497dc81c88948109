"""The options of the build switched off, and the library as a Meson subproject.

One build of the library's sources, small and unoptimised, serves all: as a static subproject
without TLS, tools and tests, then as a shared one, then installed with a prefix of its own."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "python"))
from support import Case  # noqa: E402

HERE = Path(__file__).parent
SOURCE = Path(os.environ["AGENTSIGHT_SOURCE"])
CXX = shlex.split(os.environ["AGENTSIGHT_CXX"])
MESON = shutil.which("meson") or "meson"
LIMIT = 900  # seconds for a compiler that shares its processors


def run(command, **options):
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
        **options,
    )
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout[-8000:]}")
    return done.stdout


class BuildOptions(Case):
    def test_every_option_can_be_off_on_its_own(self):
        for options in (
            ["-Dtools=false"],
            ["-Dtests=false"],
            ["-Dtls=disabled"],
            ["-Dtools=false", "-Dtls=disabled", "-Ddefault_library=static"],
        ):
            with tempfile.TemporaryDirectory() as folder:
                run([MESON, "setup", Path(folder) / "build", SOURCE] + options)

    def test_as_a_subproject_without_tls_static_then_shared_then_installed(self):
        host = Path(self.folder.name) / "host project"
        shutil.copytree(HERE / "consumer", host)
        (host / "meson.build.in").rename(host / "meson.build")
        (host / "subprojects").mkdir()
        (host / "subprojects" / "agentsight-outbox").symlink_to(SOURCE)
        build, prefix = host / "build", Path(self.folder.name) / "prefix"
        run(
            [MESON, "setup", build, host, f"--prefix={prefix}", "--libdir=lib"]
            + ["-Dbuildtype=plain", "-Doptimization=0"]
            + ["-Dagentsight-outbox:tls=disabled", "-Dagentsight-outbox:default_library=static"]
        )
        run(["ninja", "-C", build])
        linked = run(["ldd", build / "application"])
        self.assertNotIn("libssl", linked)
        self.assertNotIn("libagentsight", linked)
        self.delivers(build / "application", 1)
        self.delivers(build / "application-c", 2)

        run([MESON, "configure", build, "-Dagentsight-outbox:default_library=both"])
        run(["ninja", "-C", build])
        self.assertIn("libagentsight-outbox.so.0", run(["ldd", build / "application"]))
        self.delivers(build / "application", 3)

        run([MESON, "install", "-C", build, "--no-rebuild"])
        self.assertFalse((prefix / "bin" / "agentsight-outbox").exists())
        environment = dict(os.environ, PKG_CONFIG_PATH=str(prefix / "lib" / "pkgconfig"))
        flags = run(
            ["pkg-config", "--static", "--cflags", "--libs", "agentsight-outbox"], env=environment
        )
        self.assertNotIn("ssl", flags)
        (prefix / "lib" / "libagentsight-outbox.so").unlink()  # so that -l finds the other
        program = host / "installed-static"
        run(CXX + ["-std=c++20", host / "application.cpp", "-o", program] + shlex.split(flags))
        self.assertNotIn("libagentsight", run(["ldd", program]))
        self.delivers(program, 4)

    def delivers(self, program, rows):
        run([program], env=self.environment)
        self.assertEqual(len(self.sandbox.rows()), rows)


if __name__ == "__main__":
    unittest.main()
