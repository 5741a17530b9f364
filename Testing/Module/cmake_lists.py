"""The files that CMake packages: ``python -m Testing.Module.cmake_lists`` writes the lists from the tree.

Slicer's build copies only what is listed, so a file that is not is missing in the package and in no test.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

MODULE = """#-----------------------------------------------------------------------------
# The lists are written by: python -m Testing.Module.cmake_lists
set(MODULE_NAME DeepRegistration)

set(MODULE_PYTHON_SCRIPTS
{scripts}
  )

set(MODULE_PYTHON_RESOURCES
{resources}
  )

#-----------------------------------------------------------------------------
slicerMacroBuildScriptedModule(
  NAME ${{MODULE_NAME}}
  SCRIPTS ${{MODULE_PYTHON_SCRIPTS}}
  RESOURCES ${{MODULE_PYTHON_RESOURCES}}
  WITH_GENERIC_TESTS
  )

#-----------------------------------------------------------------------------
if(BUILD_TESTING)
  slicer_add_python_unittest(SCRIPT ${{MODULE_NAME}}.py)
  add_subdirectory(Testing)
endif()
"""

LIBRARY = """#-----------------------------------------------------------------------------
# The lists are written by: python -m Testing.Module.cmake_lists
set(MODULE_NAME DeepRegistrationLib)

set(MODULE_PYTHON_SCRIPTS
{scripts}
  )

#-----------------------------------------------------------------------------
# A package beside the module, not a module of its own.
slicerMacroBuildScriptedModule(
  NAME ${{MODULE_NAME}}
  SCRIPTS ${{MODULE_PYTHON_SCRIPTS}}
  WITH_SUBDIR
  )

#-----------------------------------------------------------------------------
# The models in the box lie beside the package, as in the sources.
set(MODELS
{models}
  )

foreach(model IN LISTS MODELS)
  set(source ${{CMAKE_CURRENT_SOURCE_DIR}}/../Resources/Models/${{model}})
  set(folder ${{Slicer_QTSCRIPTEDMODULES_LIB_DIR}}/Resources/Models)
  configure_file(${{source}} ${{CMAKE_BINARY_DIR}}/${{folder}}/${{model}} COPYONLY)
  install(
    FILES ${{source}}
    DESTINATION ${{Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR}}/Resources/Models
    COMPONENT RuntimeLibraries
    )
endforeach()
"""


def lists() -> dict[Path, str]:
    """Each CMakeLists.txt that lists files, and what it should hold."""
    module, library = ROOT / "DeepRegistration", ROOT / "DeepRegistrationLib"
    # What CTest runs inside Slicer stays in the build tree.
    scripts = [p for p in module.rglob("*.py") if "Testing" not in p.relative_to(module).parts]
    models = [p for p in (ROOT / "Resources" / "Models").iterdir() if p.is_file()]
    return {
        module / "CMakeLists.txt": MODULE.format(
            scripts=_listed(scripts, module), resources=_listed((module / "Resources").rglob("*"), module)
        ),
        library / "CMakeLists.txt": LIBRARY.format(
            scripts=_listed(library.rglob("*.py"), library), models=_listed(models, ROOT / "Resources" / "Models")
        ),
    }


def _listed(paths, folder: Path) -> str:
    names = sorted(p.relative_to(folder).as_posix() for p in paths if p.is_file() and "__pycache__" not in p.parts)
    return "\n".join(f"  {name}" for name in names)


if __name__ == "__main__":
    for path, text in lists().items():
        path.write_text(text, encoding="utf-8", newline="\n")
