# Third parties' headers cost each unit of a program or a test seconds: they are compiled once. Our own headers are
# never among them, and no unit of the library takes them: what a unit needs, it still includes.

# gemma_precompile(NAME LINK libraries... HEADERS headers...): the target NAME, whose precompiled headers other
# targets take by target_precompile_headers(OTHER REUSE_FROM NAME). They must be compiled by the same options.
function(gemma_precompile name)
  cmake_parse_arguments(ARG "" "" "LINK;HEADERS" ${ARGN})
  set(unit ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp)
  file(CONFIGURE OUTPUT ${unit} CONTENT "// holds the precompiled headers of @name@\n" @ONLY)
  add_library(${name} OBJECT ${unit})
  target_compile_features(${name} PUBLIC cxx_std_20)
  target_link_libraries(${name} PRIVATE gemma_warnings gemma_sanitize ${ARG_LINK})
  target_precompile_headers(${name} PRIVATE ${ARG_HEADERS})
endfunction()
