# Headers that take seconds in each unit of programs and tests are precompiled: those of third parties, and
# <gemma/gemma.hpp>, which users of the library include. Units of the library do not use them, and every unit still
# includes the headers that it needs.

# gemma_precompile(NAME LINK libraries... HEADERS headers...): creates the target NAME, whose precompiled headers other
# targets use by target_precompile_headers(OTHER REUSE_FROM NAME). They must be compiled with the same options.
function(gemma_precompile name)
  cmake_parse_arguments(ARG "" "" "LINK;HEADERS" ${ARGN})
  set(unit ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp)
  file(CONFIGURE OUTPUT ${unit} CONTENT "// holds the precompiled headers of @name@\n" @ONLY)
  add_library(${name} OBJECT ${unit})
  target_compile_features(${name} PUBLIC cxx_std_20)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE gemma_warnings gemma_sanitize ${ARG_LINK})
  target_precompile_headers(${name} PRIVATE ${ARG_HEADERS} ${PROJECT_SOURCE_DIR}/gemma/gemma.hpp)
endfunction()
