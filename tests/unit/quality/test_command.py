import subprocess
import sys


def test_help_comes_without_heavy_packages():
    heavy = [
        "great_expectations",
        "faust",
        "polars",
        "pyarrow",
        "pandas",
        "numba",
        "deltalake",
        "minio",
        "numpy",
        "rich",
    ]
    program = "import sys; from click.testing import CliRunner; from pipeline.cli.quality import audit; "
    program += "done = CliRunner().invoke(audit, ['--help']); assert '--allow-empty' in done.output; "
    program += f"print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
