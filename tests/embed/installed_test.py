"""The installed tree, used from a folder outside the build: pkg-config, CMake, Python, nm."""

import glob
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "python"))
from support import EXAMPLES, PATIENCE, Case, example  # noqa: E402

HERE = Path(__file__).parent
BUILD = os.environ["AGENTSIGHT_BUILD"]
PREFIX = os.environ["AGENTSIGHT_PREFIX"]
LIBDIR = os.environ["AGENTSIGHT_LIBDIR"]
CXX = shlex.split(os.environ["AGENTSIGHT_CXX"])
CC = shlex.split(os.environ["AGENTSIGHT_CC"])
MESON = [shutil.which("meson") or "meson"]


def run(command, **options):
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=2 * PATIENCE,
        **options,
    )
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}")
    return done.stdout


def exported(library):
    """Names of the API, without parameters; anything else as it stands."""
    names = set()
    for line in run(["nm", "-D", "--defined-only", "-C", library]).splitlines():
        kind, name = line[17:].split(" ", 1)
        if kind != "A":
            plain, _, version = name.partition("@@")
            names.add(plain.split("(", 1)[0] + ("" if version else " without a version"))
            assert version in ("", "AGENTSIGHT_0"), line
    return names


class Installed(Case):
    """Copied by DESTDIR; programs find it as they would find a sysroot."""

    @classmethod
    def setUpClass(cls):
        cls.destination = tempfile.TemporaryDirectory()
        root = cls.destination.name
        run(MESON + ["install", "-C", BUILD, "--no-rebuild", "--destdir", root])
        cls.root = Path(root)
        cls.prefix = Path(root + PREFIX)
        cls.libdir = cls.prefix / LIBDIR

    @classmethod
    def tearDownClass(cls):
        cls.destination.cleanup()

    def setUp(self):
        super().setUp()
        self.work = Path(self.folder.name) / "somebody else's project"
        shutil.copytree(HERE / "consumer", self.work)
        self.environment["PKG_CONFIG_SYSROOT_DIR"] = str(self.root)
        self.environment["PKG_CONFIG_PATH"] = str(self.libdir / "pkgconfig")
        self.environment["LD_LIBRARY_PATH"] = str(self.libdir)
        self.environment["PKG_CONFIG_ALLOW_SYSTEM_CFLAGS"] = ""

    def flags(self, *arguments):
        text = run(["pkg-config", *arguments, "agentsight-outbox"], env=self.environment)
        return shlex.split(text)

    def delivers(self, program):
        before = len(self.sandbox.rows())
        self.assertRegex(run([program], env=self.environment), r"^\d+\.\d+\.\d+$")
        self.assertEqual(len(self.sandbox.rows()), before + 1)

    def test_everything_is_there(self):
        for name in (
            "include/agentsight/agentsight.hpp",
            "include/agentsight/agentsight.h",
            "include/agentsight/detail/metadata.hpp",
            "bin/agentsight-outbox",
            "bin/agentsight-sandbox",
            f"{LIBDIR}/libagentsight-outbox.so",
            f"{LIBDIR}/libagentsight-outbox.so.0",
            f"{LIBDIR}/libagentsight-outbox.a",
            f"{LIBDIR}/pkgconfig/agentsight-outbox.pc",
            f"{LIBDIR}/cmake/agentsight-outbox/agentsight-outbox-config.cmake",
        ):
            self.assertTrue((self.prefix / name).exists(), name)

    def test_the_tool_has_its_manual_and_its_completions(self):
        if not (self.prefix / "share").exists():
            self.skipTest("this tree has none")
        files = {path.name for path in (self.prefix / "share").rglob("*agentsight-outbox*")}
        self.assertIn("agentsight-outbox.1", files)
        completions = {"agentsight-outbox", "_agentsight-outbox", "agentsight-outbox.fish"}
        self.assertLessEqual(completions, files)  # of bash, zsh, fish

    def test_the_sandbox_runs_and_its_manual_has_every_option(self):
        if not (self.prefix / "share").exists():
            self.skipTest("this tree has none")
        words = run([self.prefix / "bin" / "agentsight-sandbox", "--help"])
        page = next((self.prefix / "share").rglob("agentsight-sandbox.1")).read_text()
        options = set(re.findall(r"^  (?:-h,)?(--[a-z-]+)", words, re.MULTILINE))
        self.assertGreater(len(options), 15)
        manual = re.findall(r"^[.]BI? (\\-\\-\S+)", page, re.MULTILINE)
        self.assertEqual({option.replace("\\", "") for option in manual}, options)

    def test_pkg_config(self):
        program = self.work / "application"
        source = self.work / "application.cpp"
        run(CXX + ["-std=c++20", source, "-o", program] + self.flags("--cflags", "--libs"))
        self.delivers(program)

    def test_a_host_can_ask_an_error_for_its_type(self):
        program = self.work / "errors"
        source = self.work / "errors.cpp"
        run(CXX + ["-std=c++20", source, "-o", program] + self.flags("--cflags", "--libs"))
        run([program], env=self.environment)

    def static_flags(self):
        libraries = self.work / "static"  # so that -l finds no other
        libraries.mkdir()
        shutil.copy(self.libdir / "libagentsight-outbox.a", libraries)
        flags = self.flags("--static", "--cflags", "--libs")
        return [f"-L{libraries}"] + [flag for flag in flags if flag != f"-L{self.libdir}"]

    def test_pkg_config_static_from_c_plus_plus_and_from_c(self):
        flags = self.static_flags()
        for compiler, name in ((CXX + ["-std=c++20"], "application.cpp"), (CC, "application.c")):
            program = self.work / "application-static"
            run(compiler + [self.work / name, "-o", program] + flags)
            self.assertNotIn("libagentsight", run(["ldd", program]))
            self.delivers(program)

    @unittest.skipUnless(shutil.which("nm") and shutil.which("objcopy"), "needs binutils")
    def test_a_host_with_a_boost_of_its_own_links_the_static_library(self):
        """Of the same version but for its settings, which change the layout of executors."""
        program = self.work / "edge_daemon"
        others = ["-DBOOST_ASIO_NO_TYPEID", "-DBOOST_ASIO_NO_TS_EXECUTORS"]
        ours = (Path(BUILD) / "build.ninja").read_text()
        settings = [] if others[0] in ours else others
        source = EXAMPLES.parent / "edge_daemon.cpp"
        run(CXX + ["-std=c++20", *settings, source, "-o", program] + self.static_flags())
        text = "".join(f"device-{i} neutral\n" for i in range(5))
        out = run([program], env=self.environment, input=text)
        self.assertEqual(out.splitlines()[-1], "delivered 5")
        symbols = run(["nm", self.libdir / "libagentsight-outbox.a"])
        self.assertEqual(re.findall(r"(?<![0-9])(?:5boost|8nlohmann)", symbols), [])
        self.assertIn("16agentsight_boost", symbols)

    def test_pkg_config_from_c(self):
        program = self.work / "application-c"
        source = self.work / "application.c"
        warnings = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]
        run(CC + warnings + [source, "-o", program] + self.flags("--cflags", "--libs"))
        self.delivers(program)

    @unittest.skipUnless(shutil.which("cmake"), "needs cmake")
    def test_cmake(self):
        build = self.work / "build"
        run(
            ["cmake", "-S", self.work, "-B", build, f"-DCMAKE_PREFIX_PATH={self.prefix}"]
            + [f"-DCMAKE_CXX_COMPILER={CXX[-1]}", f"-DCMAKE_C_COMPILER={CC[-1]}"]
        )
        run(["cmake", "--build", build])
        for name in ("application", "application-c", "application-static"):
            self.delivers(build / name)

    @unittest.skipUnless(shutil.which("cmake"), "needs cmake")
    def test_cmake_of_a_project_in_c_alone(self):
        build = self.work / "build"
        text = (self.work / "CMakeLists.txt").read_text().replace("(consumer C CXX)", "(consumer C)")
        text = re.sub(r"add_executable.application app.*\n.*\n", "", text)
        text = text.replace("application.cpp", "application.c")
        (self.work / "CMakeLists.txt").write_text(text)
        run(
            ["cmake", "-S", self.work, "-B", build, f"-DCMAKE_PREFIX_PATH={self.prefix}"]
            + [f"-DCMAKE_C_COMPILER={CC[-1]}"]
        )
        run(["cmake", "--build", build])
        for name in ("application-c", "application-static"):
            self.delivers(build / name)

    @unittest.skipUnless(shutil.which("cmake"), "needs cmake")
    def test_cmake_refuses_a_version_that_is_not_compatible(self):
        text = (self.work / "CMakeLists.txt").read_text()
        (self.work / "CMakeLists.txt").write_text(text.replace("outbox 0.1 ", "outbox 9.0 "))
        done = subprocess.run(
            ["cmake", "-S", self.work, "-B", self.work / "b"]
            + [f"-DCMAKE_PREFIX_PATH={self.prefix}", f"-DCMAKE_CXX_COMPILER={CXX[-1]}"],
            capture_output=True,
            text=True,
        )
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("agentsight-outbox", done.stderr)

    def test_the_python_package_finds_the_library(self):
        found = glob.glob(str(self.prefix / "**" / "agentsight" / "manager.py"), recursive=True)
        self.assertEqual(len(found), 1)
        self.environment["PYTHONPATH"] = str(Path(found[0]).parents[1])
        del self.environment["AGENTSIGHT_LIBRARY"]
        self.python(example("basic.py") + "\nassert conversation_manager.flush(50)\n")
        self.assertEqual(len(self.sandbox.rows()), 1)

    def test_pip_installs_the_python_package_without_a_network(self):
        target = Path(self.folder.name) / "site"
        source = Path(self.folder.name) / "python"
        if subprocess.run(
            [sys.executable, "-c", "import pip"], stderr=subprocess.DEVNULL
        ).returncode:
            self.skipTest("needs pip")
        shutil.copytree(HERE.parents[1] / "lib" / "python", source)
        run(
            [sys.executable, "-m", "pip", "install", "--quiet"]
            + ["--no-deps", "--no-index", "--no-cache-dir", f"--target={target}", source],
            env=dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1"),
        )
        self.assertTrue((target / "agentsight" / "py.typed").exists())
        self.environment["PYTHONPATH"] = str(target)
        self.python(example("basic.py") + "\nassert conversation_manager.flush(50)\n")
        self.assertEqual(len(self.sandbox.rows()), 1)

    def test_only_the_api_is_exported_and_nothing_of_it_is_gone(self):
        library = self.libdir / "libagentsight-outbox.so.0"
        known = {
            line for line in (HERE / "exported.txt").read_text().splitlines() if line[:1] != "#"
        }
        names = exported(library)
        headers = "".join(
            path.read_text() for path in (self.prefix / "include").rglob("*") if path.is_file()
        )
        for name in names - known:  # new: of a public class, and declared
            function = re.match(r"agentsight::(?:\w+::)?(~?\w+|operator\W+)(\[abi:cxx11\])?$", name)
            self.assertTrue(function and function.group(1) in headers, name)
            self.assertNotRegex(name, "::(core|os|sqlite|net|outbox|delivery|detail)::")
        self.assertEqual(known - names, set(), "gone: a break of the binary interface")

    def test_the_library_stays_loaded(self):
        dynamic = run(["readelf", "-d", self.libdir / "libagentsight-outbox.so.0"])
        self.assertIn("NODELETE", dynamic)
        self.assertIn("[libagentsight-outbox.so.0]", dynamic)


if __name__ == "__main__":
    unittest.main()
