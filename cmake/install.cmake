# cmake --install, find_package(gemma CONFIG), pkg-config, and the Debian package (cpack -G DEB). All paths are relative,
# so the installed tree may be moved.
include(CMakePackageConfigHelpers)
set(gemma_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/gemma)

install(TARGETS gemma_kernels gemma_gemma gemma_header_only EXPORT gemma-targets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library NAMELINK_COMPONENT library
        INCLUDES DESTINATION ${gemma_headers_dir})
foreach(part gguf tokenizer tokenizer/dialects gemma gemma/decoder gemma/families gemma/grammar)
  file(GLOB headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${part}/*.hpp ${PROJECT_SOURCE_DIR}/${part}/*.inl
       ${PROJECT_SOURCE_DIR}/${part}/*.h)
  list(FILTER headers EXCLUDE REGEX "/c_guard\\.hpp$") # used by units of the library only
  install(FILES ${headers} DESTINATION ${gemma_headers_dir}/${part} COMPONENT library)
endforeach()
install(FILES ${PROJECT_SOURCE_DIR}/kernels/kernel_table.hpp ${PROJECT_SOURCE_DIR}/kernels/cpu_features.hpp
              ${PROJECT_SOURCE_DIR}/kernels/encoder.hpp
        DESTINATION ${gemma_headers_dir}/kernels COMPONENT library)

get_target_property(gemma_type gemma_kernels TYPE)
string(COMPARE EQUAL "${gemma_type}" STATIC_LIBRARY gemma_is_static)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/gemma-config.cmake.in
                              ${CMAKE_CURRENT_BINARY_DIR}/gemma-config.cmake INSTALL_DESTINATION ${gemma_cmake_dir})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/gemma-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/gemma-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/gemma-config-version.cmake
        DESTINATION ${gemma_cmake_dir} COMPONENT library)
install(EXPORT gemma-targets NAMESPACE gemma:: DESTINATION ${gemma_cmake_dir} COMPONENT library)

# pkg-config: gemma and gemma-header-only. Users of a static library must link its dependencies, those of a shared one not
file(RELATIVE_PATH gemma_pc_to_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" gemma_pc_to_prefix "${gemma_pc_to_prefix}")
# gemma_pkg_config(NAME DESCRIPTION CFLAGS LIBS): creates and installs NAME.pc
function(gemma_pkg_config gemma_pc_name gemma_pc_description gemma_pc_cflags gemma_pc_libs)
  if(gemma_is_static)
    set(gemma_pc_public "Requires: sentencepiece libpcre2-8")
  else()
    set(gemma_pc_public "") # not even Requires.private: pkg-config --cflags would require those packages
  endif()
  configure_file(${PROJECT_SOURCE_DIR}/cmake/gemma.pc.in ${CMAKE_CURRENT_BINARY_DIR}/${gemma_pc_name}.pc @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${gemma_pc_name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig
          COMPONENT library)
endfunction()
set(static_libs "")
set(openmp "")
if(gemma_is_static)
  set(static_libs " -lstdc++ -lm")
  set(openmp " ${OpenMP_CXX_FLAGS}")
endif()
gemma_pkg_config(gemma "${PROJECT_DESCRIPTION}" "" "-lgemma${static_libs}${openmp}")
gemma_pkg_config(gemma-header-only "${PROJECT_DESCRIPTION} (as headers)" "-DGEMMA_HEADER_ONLY ${OpenMP_CXX_FLAGS}"
                 "-lgemma_kernels${static_libs} ${OpenMP_CXX_FLAGS}")

install(FILES ${PROJECT_SOURCE_DIR}/README.md ${PROJECT_SOURCE_DIR}/CHANGELOG.md ${PROJECT_SOURCE_DIR}/LICENSE
              ${PROJECT_SOURCE_DIR}/THIRD_PARTY_NOTICES.md
        DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT library)
foreach(program gemma-chat gemma-convert gemma-embed gemma-imatrix gemma-logits gemma-perplexity gemma-quantize gemma-server gemma-tokenize gguf-info gemma-bench gemma-squad)
  if(TARGET ${program})
    install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT programs)
  endif()
endforeach()

if(PROJECT_IS_TOP_LEVEL)
  set(CPACK_GENERATOR DEB)
  set(CPACK_PACKAGE_NAME gemma)
  set(CPACK_PACKAGE_VENDOR gemma)
  set(CPACK_PACKAGE_CONTACT "gemma maintainers <maintainers@localhost>")
  set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
  set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
  set(CPACK_STRIP_FILES ON)
  set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
  set(CPACK_DEBIAN_PACKAGE_SECTION science)
  set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
  if(gemma_is_static) # needed to link a static library; a shared one loads its dependencies
    set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "libsentencepiece-dev, libpcre2-dev")
  endif()
  set(CPACK_DEBIAN_PACKAGE_SUGGESTS "g++, cmake, pkg-config")
  include(CPack)
endif()
