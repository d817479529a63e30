# SPDX-License-Identifier: Apache-2.0
# libhearth, static and shared: every layer's objects but the settings reader
# (inih must never get in), with the installed headers as the only interface.
set(hearth_parts hearth_common hearth_rng hearth_proto hearth_privacy hearth_noise hearth_client)
set(hearth_deps mbedtls msgpack cjson pcre2 utf8proc)
set(hearth_pc_requires libcjson libpcre2-8 libutf8proc)
if(HEARTH_WITH_SQLITE)
  list(APPEND hearth_deps sqlite)
  list(APPEND hearth_pc_requires sqlite3)
endif()
if(HEARTH_WITH_CURL)
  list(APPEND hearth_deps curl)
  list(APPEND hearth_pc_requires libcurl)
endif()
if(HEARTH_WITH_OPENBLAS)
  list(APPEND hearth_deps openblas)
  list(APPEND hearth_pc_requires openblas)
endif()

# What a user of the static library has to link as well, by name.
set(HEARTH_PRIVATE_LIBS)
foreach(dep IN LISTS hearth_deps)
  get_target_property(names hearth_dep_${dep} INTERFACE_LINK_LIBRARIES)
  foreach(lib IN LISTS names)
    get_filename_component(lib "${lib}" NAME)
    string(REGEX REPLACE "^lib(.*)\\.(so|a|dylib).*$" "\\1" lib "${lib}")
    list(APPEND HEARTH_PRIVATE_LIBS ${lib})
  endforeach()
endforeach()
list(APPEND HEARTH_PRIVATE_LIBS pthread m)

function(hearth_library name kind)
  add_library(${name} ${kind})
  foreach(part IN LISTS hearth_parts)
    target_sources(${name} PRIVATE $<TARGET_OBJECTS:${part}>)
  endforeach()
  target_include_directories(${name}
    PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>
           $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include>
           $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(${name} PRIVATE $<BUILD_INTERFACE:hearth_flags>
    $<BUILD_INTERFACE:Threads::Threads>)
  foreach(dep IN LISTS hearth_deps)
    target_link_libraries(${name} PRIVATE $<BUILD_INTERFACE:hearth_dep_${dep}>)
  endforeach()
  set_target_properties(${name} PROPERTIES OUTPUT_NAME hearth LINKER_LANGUAGE C)
endfunction()

hearth_library(hearth SHARED)
add_library(hearth::hearth ALIAS hearth)
target_link_libraries(hearth PRIVATE m)
set_target_properties(hearth PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 0
  PUBLIC_HEADER "${public_headers}")
if(NOT HEARTH_SANITIZE)
  target_link_options(hearth PRIVATE -Wl,--no-undefined)
endif()

hearth_library(hearth_static STATIC)
add_library(hearth::hearth_static ALIAS hearth_static)
target_link_libraries(hearth_static INTERFACE ${HEARTH_PRIVATE_LIBS})

include(CMakePackageConfigHelpers)
set(HEARTH_CMAKEDIR ${CMAKE_INSTALL_LIBDIR}/cmake/hearth)
install(TARGETS hearth hearth_static EXPORT hearthTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT device
    NAMELINK_COMPONENT devel
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT devel
  PUBLIC_HEADER DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/hearth COMPONENT devel)
install(EXPORT hearthTargets NAMESPACE hearth:: DESTINATION ${HEARTH_CMAKEDIR} COMPONENT devel)
configure_package_config_file(${PROJECT_SOURCE_DIR}/deploy/cmake/hearthConfig.cmake.in
  hearthConfig.cmake INSTALL_DESTINATION ${HEARTH_CMAKEDIR})
write_basic_package_version_file(hearthConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/hearthConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/hearthConfigVersion.cmake
  DESTINATION ${HEARTH_CMAKEDIR} COMPONENT devel)
file(RELATIVE_PATH HEARTH_PC_UP /${CMAKE_INSTALL_LIBDIR}/pkgconfig /) # may be moved
list(JOIN hearth_pc_requires ", " HEARTH_PC_REQUIRES)
list(TRANSFORM HEARTH_PRIVATE_LIBS PREPEND -l OUTPUT_VARIABLE pc_libs)
list(JOIN pc_libs " " HEARTH_PC_LIBS)
configure_file(${PROJECT_SOURCE_DIR}/deploy/pkgconfig/hearth.pc.in hearth.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/hearth.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT devel)
