"""Run by CTest inside Slicer (BUILD_TESTING=ON): what was built is whole, and nothing loads PyTorch into Slicer."""

import importlib
import pkgutil
import sys
import unittest

import slicer


class DeepRegistrationPackageTest(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear()

    def test_every_file_of_the_panel_can_be_imported_without_torch(self):
        package = importlib.import_module("DeepRegistrationSlicer")
        names = [found.name for found in pkgutil.walk_packages(package.__path__, "DeepRegistrationSlicer.")]
        assert len(names) > 30
        for name in names:
            importlib.import_module(name)
        assert "torch" not in sys.modules

    def test_the_worker_finds_the_library_and_its_models(self):
        from DeepRegistrationSlicer.worker import process

        folder = process.libraryFolder()
        assert (folder / "DeepRegistrationLib" / "__main__.py").is_file()
        assert list((folder / "Resources" / "Models").glob("*.safetensors"))

    def test_the_panel_opens(self):
        panel = slicer.modules.deepregistration.widgetRepresentation().self().panel
        assert panel.parameters is not None
