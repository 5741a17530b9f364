"""CTest starts this in place of Slicer: ``run_unittest.py SCRIPT FOLDER`` tests the built module on the test host.

Slicer's own ``slicer.testing.runUnitTest`` likewise imports the script by its name and runs its ``TestCase``.
"""

import importlib.util
import sys
import unittest
from pathlib import Path

root = Path(__file__).resolve().parents[2]
script, built = (Path(argument) for argument in sys.argv[1:3])
sys.path.insert(0, str(root))
from Testing import host  # noqa: E402

running = host.boot()
sys.path.remove(str(root))
host.load_module(built / "DeepRegistration.py")
spec = importlib.util.spec_from_file_location(script.stem, script)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
result = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromModule(module))
sys.exit(0 if result.wasSuccessful() and not running.errors else 1)
