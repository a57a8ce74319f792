"""The pytest plugin, in test suites of its own: pytester writes them and runs them.

Each in a process of its own: pytester takes back what a run within this one imported, and extension modules such as
lief's end the process when they are imported a second time.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples" / "bin"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the programs need a Linux libc")


@pytest.fixture(autouse=True)
def programs(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples are found where the tests run; what was said to this pytest does not hold for theirs."""
    (pytester.path / "bin").symlink_to(EXAMPLES)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)


def test_a_leak_fails_the_test_with_the_report(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_it(emuleak):
            emuleak(["bin/article", "-x", "a b"])
            assert False, "not reached"
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*_ test_it _*",
            "test_a_leak_fails_the_test_with_the_report.py:2: bin/article -x 'a b'",
            "emuleak: 1 leak: 64 bytes in 1 block definitely lost",
            "*at main (*article.c:9)",
            "*definitely lost        64        1",
        ]
    )
    for noise in ("Traceback", "pytest_plugin", "api.py", "not reached", "def test_it", "Captured"):
        assert noise not in result.stdout.str()


def test_a_clean_program_passes_and_hands_back_its_report(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_it(emuleak):
            report = emuleak(["cat"], stdin=b"hello", max_seconds=60)
            assert report.stdout == b"hello"
            assert report.exit.code == 0
            assert not report.leaks
        """
    )
    pytester.runpytest_subprocess("--strict-markers", "-W", "error").assert_outcomes(passed=1)


def test_check_false_only_hands_back_the_report(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_it(emuleak):
            report = emuleak(["bin/double_free"], check=False)
            assert [error.kind for error in report.errors] == ["double-free"]
        """
    )
    pytester.runpytest_subprocess("-W", "error").assert_outcomes(passed=1)


def test_what_cannot_be_run_fails_in_one_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(emuleak): emuleak(['bin/nothing'])")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["emuleak: error: bin/nothing: no such file"])
    assert "pytest_plugin.py" not in result.stdout.str()


def test_a_test_that_fails_for_another_reason_shows_report_and_output(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_it(emuleak):
            emuleak(["echo", "from the program"])
            emuleak(["bin/error_path"], check=False)
            assert 1 == 2
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">*assert 1 == 2",
            "*- Captured stdout of echo 'from the program' call -*",
            "from the program",
            "*- Captured emuleak report of echo 'from the program' call -*",
            "emuleak: no leaks, no misuse of the heap: *",
            "*- Captured stdout of bin/error_path call -*",
            "Ada is 36",
            "*- Captured emuleak report of bin/error_path call -*",
            "emuleak: 1 leak: *",
        ]
    )


def test_long_output_is_cut(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_it(emuleak):
            emuleak(["head", "-c", "100000", "/dev/zero"], check=False)
            assert False
        """
    )
    result = pytester.runpytest_subprocess()
    result.stdout.fnmatch_lines(["*- Captured stdout of head *", "... 96000 characters ..."])


# ---- what counts


def test_markers_say_what_counts_and_the_closest_wins(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.emuleak(fail_on="misuse")

        def test_module(emuleak):
            emuleak(["bin/article"])

        @pytest.mark.emuleak(fail_on="definite")
        def test_own(emuleak):
            emuleak(["bin/article"])

        @pytest.mark.emuleak(fail_on="definite")
        def test_call(emuleak):
            emuleak(["bin/article"], fail_on="none")

        def test_misuse(emuleak):
            emuleak(["bin/double_free"])

        @pytest.mark.emuleak(fail_on=["possible"])
        class TestClass:
            def test_misuse(self, emuleak):
                emuleak(["bin/double_free"])
        """
    )
    result = pytester.runpytest_subprocess("--strict-markers", "-v")
    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines(
        ["*::test_module PASSED*", "*::test_own FAILED*", "*::test_call PASSED*", "*::test_misuse FAILED*",
         "*TestClass::test_misuse PASSED*"]
    )  # fmt: skip


def test_allowed_functions_do_not_count(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.emuleak(allow=["par*"])
        def test_marker(emuleak):
            emuleak(["bin/error_path"])

        @pytest.mark.emuleak(allow="parse")
        def test_one(emuleak):
            emuleak(["bin/error_path"])

        def test_call(emuleak):
            emuleak(["bin/error_path"], allow=["parse"])

        @pytest.mark.emuleak(allow=["other"])
        def test_other(emuleak):
            emuleak(["bin/error_path"])
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=3, failed=1)


def test_suppressions_of_the_ini_file_the_marker_and_the_call_add_up(pytester: pytest.Pytester) -> None:
    (pytester.path / "sub").mkdir()
    for name, pattern in (("ini", "parse"), ("marker", "main"), ("call", "*.so")):
        (pytester.path / f"{name}.supp").write_text(f"leak:{pattern}\n")
    pytester.makeini("[pytest]\nemuleak_suppressions = ini.supp")
    pytester.makepyfile(
        """
        import os, pytest

        def suppressed(report):
            return [each.name for each in report.suppressed]

        def test_ini(emuleak):
            assert suppressed(emuleak(["bin/error_path"])) == ["leak:parse"]

        @pytest.mark.emuleak(suppressions=["marker.supp"])
        def test_marker(emuleak, monkeypatch):
            monkeypatch.chdir("sub")
            assert suppressed(emuleak(["../bin/article"])) == ["leak:main"]

        def test_call(emuleak):
            report = emuleak(["bin/article"], suppressions=["call.supp"], check=False)
            assert report.unused_suppressions == ("leak:parse", "leak:*.so") or suppressed(report)
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=3)


def test_the_ini_file_says_what_counts(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nemuleak_fail_on = misuse")
    pytester.makepyfile(
        """
        def test_leak(emuleak): emuleak(["bin/article"])
        def test_misuse(emuleak): emuleak(["bin/double_free"])
        """
    )
    pytester.runpytest_subprocess("--strict-config").assert_outcomes(passed=1, failed=1)
    pytester.runpytest_subprocess("-o", "emuleak_fail_on=none").assert_outcomes(passed=2)
    result = pytester.runpytest_subprocess("-o", "emuleak_fail_on=leeks")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["emuleak: error: fail_on: unknown kind 'leeks'; *"])


def test_a_budget_of_time_fails_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.emuleak(max_seconds=0.3, fail_on="none")
        def test_marker(emuleak):
            emuleak(["sort", "/dev/zero"])

        @pytest.mark.emuleak(max_seconds=60)
        def test_call(emuleak):
            emuleak(["sort", "/dev/zero"], max_seconds=0.3)
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["emuleak: stopped early; *", "*the limit of 0.3 seconds was reached*"])


@pytest.mark.parametrize(("given", "named"), [("failon='misuse'", "failon"), ("'misuse'", "'misuse'")])
def test_a_wrong_marker_is_told(pytester: pytest.Pytester, given: str, named: str) -> None:
    pytester.makepyfile(f"import pytest\n@pytest.mark.emuleak({given})\ndef test_it(emuleak): pass")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(errors=1)
    expected = f"emuleak marker: {named}: give allow, fail_on, max_seconds, suppressions by name"
    result.stdout.fnmatch_lines([expected])


# ---- the plugin among others


def test_workers_of_xdist_report_as_one_process_does(pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("name", ["article", "double_free", "error_path"])
        def test_bad(emuleak, name):
            emuleak([f"bin/{name}"])

        def test_good(emuleak):
            emuleak(["true"])

        def test_other(emuleak):
            emuleak(["echo", "hello"])
            assert False
        """
    )
    result = pytester.runpytest_subprocess("-n", "2")
    result.assert_outcomes(passed=1, failed=4)
    result.stdout.fnmatch_lines_random(
        [
            "emuleak: 1 leak: 64 bytes in 1 block definitely lost",
            "emuleak: 1 double free; *",
            "emuleak: 1 leak: 16 bytes in 1 block definitely lost, 6 bytes in 1 block indirectly lost",
            "*- Captured emuleak report of echo hello call -*",
        ]
    )


def test_the_plugin_can_be_left_out(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(emuleak): pass")
    result = pytester.runpytest_subprocess("-p", "no:emuleak")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'emuleak' not found"])


def test_pytest_tells_of_fixture_and_marker(pytester: pytest.Pytester) -> None:
    pytester.runpytest_subprocess("--fixtures").stdout.fnmatch_lines(["emuleak -- *", "*Run programs under emuleak: *"])
    pytester.runpytest_subprocess("--markers").stdout.fnmatch_lines(["@pytest.mark.emuleak(fail_on=*"])


def test_loading_the_plugin_loads_no_emulator(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_it(emuleak, request):
            assert request.config.pluginmanager.hasplugin("emuleak")
            ours = sorted(name for name in sys.modules if name.startswith("emuleak"))
            assert ours == ["emuleak", "emuleak.pytest_plugin"]
            assert not {"unicorn", "lief", "capstone", "msgspec", "rich", "click"} & sys.modules.keys()
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1)


def test_the_plugin_costs_pytest_little() -> None:
    """The imports of the plugin alone: what pytest itself imports is not counted."""
    script = (
        "import pytest, time\nstart = time.process_time()\nimport emuleak.pytest_plugin\n"
        "print(time.process_time() - start)"
    )
    times = [
        float(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, env=os.environ).stdout)
        for _ in range(3)
    ]
    assert min(times) < 0.02
