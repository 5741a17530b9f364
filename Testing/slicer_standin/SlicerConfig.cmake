# A stand-in for Slicer's CMake package, enough to configure, build and install an extension of Python files.
# What it keeps of the real one: only listed files are copied, a listed file that is missing is an error, WITH_SUBDIR puts
# the files into a folder named as the source folder. It shows nothing of packaging (CPack), of signing, of other platforms.
set(Slicer_VERSION 5.13)
set(Slicer_USE_PYTHONQT ON)
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR lib/Slicer-${Slicer_VERSION}/qt-scripted-modules)
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR lib/Slicer-${Slicer_VERSION}/qt-scripted-modules)
set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${CMAKE_CURRENT_LIST_DIR}/Finish.cmake)
set(Slicer_EXTENSION_CPACK ${CMAKE_CURRENT_LIST_DIR}/Finish.cmake)
