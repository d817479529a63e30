# SPDX-License-Identifier: Apache-2.0
# tests/e2e/test_cli_NAME.py -> ctest e2e.cli_NAME: the shipped `hearth` as it is.
if(HEARTH_BUILD_CLI)
  file(GLOB cli_scripts CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/test_cli_*.py)
  foreach(script IN LISTS cli_scripts)
    string(REGEX REPLACE ".*/test_(cli_.*)\\.py" "\\1" name ${script})
    add_test(NAME e2e.${name} COMMAND Python3::Interpreter ${script})
    set_tests_properties(e2e.${name} PROPERTIES LABELS e2e TIMEOUT 900 ENVIRONMENT
      "HEARTH=$<TARGET_FILE:hearth_cli>;HEARTH_SANITIZE=${HEARTH_SANITIZE};HEARTH_TEST_DATA=${HEARTH_TEST_DATA}")
  endforeach()
endif()
