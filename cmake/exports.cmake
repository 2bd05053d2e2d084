# What the shared library shows: the C interface, and the few C++ functions that the headers call.

# the units behind C++ headers; everything else is compiled with hidden visibility
set_property(SOURCE kernels/registry.cpp tokenizer/spm.cpp tokenizer/pretokenize.cpp
             APPEND PROPERTY COMPILE_OPTIONS -fvisibility=default)

# gemma_limit_exports(TARGET): hides everything that exports.map does not name, in a shared library.
function(gemma_limit_exports target)
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "SHARED_LIBRARY" AND CMAKE_SYSTEM_NAME STREQUAL "Linux")
    set(map ${PROJECT_SOURCE_DIR}/cmake/exports.map)
    target_link_options(${target} PRIVATE LINKER:--version-script=${map})
    set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS ${map})
  endif()
endfunction()
