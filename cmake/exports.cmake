# Exported symbols of the shared libraries: libgemma exports the C interface and the public C++ interface,
# libgemma_kernels the functions that the headers of gemma::header_only call.

# gemma_limit_exports(TARGET MAP): sets the visibility for a static or shared library; a shared one exports the symbols
# in MAP.
function(gemma_limit_exports target map)
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON VISIBILITY_INLINES_HIDDEN ON DEFINE_SYMBOL "")
  # calls within the library may be inlined as in a static library, also calls of exported functions
  target_compile_options(${target} PRIVATE -fno-semantic-interposition)
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "SHARED_LIBRARY" AND CMAKE_SYSTEM_NAME STREQUAL "Linux")
    target_link_options(${target} PRIVATE LINKER:--version-script=${PROJECT_SOURCE_DIR}/${map})
    set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS ${PROJECT_SOURCE_DIR}/${map})
  endif()
endfunction()

# functions of ISA units and of namespace detail are hidden; the units that implement public C++ headers are visible
set_target_properties(gemma_kernel_objects PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden
                                                      VISIBILITY_INLINES_HIDDEN ON)
set_property(SOURCE kernels/registry.cpp tokenizer/spm.cpp tokenizer/pretokenize.cpp
             APPEND PROPERTY COMPILE_OPTIONS -fvisibility=default)
