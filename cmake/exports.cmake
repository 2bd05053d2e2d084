# What the shared libraries show: libgemma the C interface and the public C++ one, libgemma_kernels what the headers of
# gemma::header_only call.

# gemma_limit_exports(TARGET MAP): compiles it for a library of either kind; a shared one shows what MAP names.
function(gemma_limit_exports target map)
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON VISIBILITY_INLINES_HIDDEN ON DEFINE_SYMBOL "")
  # functions that the map hides are inlined as in a static library, those that it shows too
  target_compile_options(${target} PRIVATE -fno-semantic-interposition)
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "SHARED_LIBRARY" AND CMAKE_SYSTEM_NAME STREQUAL "Linux")
    target_link_options(${target} PRIVATE LINKER:--version-script=${PROJECT_SOURCE_DIR}/${map})
    set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS ${PROJECT_SOURCE_DIR}/${map})
  endif()
endfunction()

# an ISA unit's own functions, and what is in namespace detail, need no visibility; the units behind C++ headers do
set_target_properties(gemma_kernel_objects PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden
                                                      VISIBILITY_INLINES_HIDDEN ON)
set_property(SOURCE kernels/registry.cpp tokenizer/spm.cpp tokenizer/pretokenize.cpp
             APPEND PROPERTY COMPILE_OPTIONS -fvisibility=default)
