# SPDX-License-Identifier: Apache-2.0
# Finds every library that Hearth uses and wraps each as hearth_dep_NAME, an
# INTERFACE target, so that only one place knows where a library lives.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

# hearth_dependency(NAME MODULE...): by pkg-config, first module that exists.
function(hearth_dependency name)
  add_library(hearth_dep_${name} INTERFACE)
  pkg_search_module(HEARTH_${name} REQUIRED ${ARGN})
  target_include_directories(hearth_dep_${name} SYSTEM INTERFACE ${HEARTH_${name}_INCLUDE_DIRS})
  target_link_directories(hearth_dep_${name} INTERFACE ${HEARTH_${name}_LIBRARY_DIRS})
  target_link_libraries(hearth_dep_${name} INTERFACE ${HEARTH_${name}_LIBRARIES})
endfunction()

# hearth_dependency_lib(NAME HEADER LIB...): where no .pc file exists.
function(hearth_dependency_lib name header)
  add_library(hearth_dep_${name} INTERFACE)
  find_path(HEARTH_${name}_INCLUDE ${header} REQUIRED)
  target_include_directories(hearth_dep_${name} SYSTEM INTERFACE ${HEARTH_${name}_INCLUDE})
  foreach(lib ${ARGN})
    find_library(HEARTH_${name}_${lib} ${lib} REQUIRED)
    target_link_libraries(hearth_dep_${name} INTERFACE ${HEARTH_${name}_${lib}})
  endforeach()
endfunction()

hearth_dependency_lib(mbedtls mbedtls/ssl.h mbedtls mbedx509 mbedcrypto)
hearth_dependency(msgpack msgpack-c msgpack)
hearth_dependency(cjson libcjson)
hearth_dependency(pcre2 libpcre2-8)
hearth_dependency(utf8proc libutf8proc)
if(HEARTH_WITH_SQLITE)
  hearth_dependency(sqlite sqlite3)
endif()
if(HEARTH_WITH_CURL)
  hearth_dependency(curl libcurl)
endif()
if(HEARTH_WITH_OPENBLAS)
  hearth_dependency(openblas openblas)
endif()
hearth_dependency(inih inih)
if(HEARTH_BUILD_COORDINATOR)
  hearth_dependency(uv libuv)
endif()
