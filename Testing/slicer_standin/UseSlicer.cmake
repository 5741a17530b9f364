option(BUILD_TESTING "Declare the tests" ON)

foreach(name HOMEPAGE CONTRIBUTORS DESCRIPTION ICONURL SCREENSHOTURLS DEPENDS)
  if(NOT EXTENSION_${name})
    message(FATAL_ERROR "EXTENSION_${name} is not set")
  endif()
  # The real macros hand it on as a list, of which only the first entry arrives in the catalog.
  list(LENGTH EXTENSION_${name} parts)
  if(NOT parts EQUAL 1)
    message(FATAL_ERROR "EXTENSION_${name} is cut off at its first semicolon")
  endif()
endforeach()

# slicerMacroBuildScriptedModule(NAME n SCRIPTS a.py ... [RESOURCES r ...] [WITH_GENERIC_TESTS] [WITH_SUBDIR])
function(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MODULE "WITH_GENERIC_TESTS;WITH_SUBDIR;VERBOSE" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MODULE_UNPARSED_ARGUMENTS OR NOT MODULE_NAME)
    message(FATAL_ERROR "slicerMacroBuildScriptedModule: ${MODULE_UNPARSED_ARGUMENTS}")
  endif()
  set(subfolder "")
  if(MODULE_WITH_SUBDIR)
    get_filename_component(subfolder ${CMAKE_CURRENT_SOURCE_DIR} NAME)
    set(subfolder /${subfolder})
  endif()
  foreach(file IN LISTS MODULE_SCRIPTS MODULE_RESOURCES)
    if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${file})
      message(FATAL_ERROR "slicerMacroBuildScriptedModule given nonexistent file or directory '${file}'")
    endif()
    set(target ${Slicer_QTSCRIPTEDMODULES_LIB_DIR}${subfolder}/${file})
    configure_file(${file} ${CMAKE_BINARY_DIR}/${target} COPYONLY)
    get_filename_component(folder ${target} DIRECTORY)
    install(FILES ${file} DESTINATION ${folder} COMPONENT RuntimeLibraries)
  endforeach()
endfunction()

if(BUILD_TESTING)
  enable_testing()
endif()

function(slicer_add_python_unittest)
  cmake_parse_arguments(TEST "" "SCRIPT" "SLICER_ARGS" ${ARGN})
  if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${TEST_SCRIPT})
    message(FATAL_ERROR "slicer_add_python_unittest given nonexistent script '${TEST_SCRIPT}'")
  endif()
  get_filename_component(name ${TEST_SCRIPT} NAME_WE)
  add_test(
    NAME py_${name}
    COMMAND
      ${STANDIN_PYTHON} ${Slicer_DIR}/run_unittest.py ${CMAKE_CURRENT_SOURCE_DIR}/${TEST_SCRIPT}
      ${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}
    )
endfunction()
