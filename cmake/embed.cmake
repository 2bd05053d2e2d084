# gemma_embed(TARGET HEADER NAMESPACE kName=file...): compiles the content of each file into TARGET as `extern const
# std::string_view kName` in NAMESPACE, declared in HEADER, so that the program needs no data files.
function(gemma_embed target header namespace)
  set(source ${CMAKE_CURRENT_BINARY_DIR}/${target}_embedded.cpp)
  set(code "#include \"${header}\"\n\nnamespace ${namespace} {\n")
  foreach(pair ${ARGN})
    string(REGEX MATCH "^([^=]+)=(.+)$" whole ${pair})
    set(name ${CMAKE_MATCH_1})
    set(file ${CMAKE_CURRENT_SOURCE_DIR}/${CMAKE_MATCH_2})
    file(READ ${file} hex HEX)
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${hex}")
    string(APPEND code "static constexpr char ${name}Bytes[] = {${bytes}};\n"
                       "const std::string_view ${name}(${name}Bytes, sizeof ${name}Bytes);\n")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  endforeach()
  string(APPEND code "}  // namespace ${namespace}\n")
  file(CONFIGURE OUTPUT ${source} CONTENT "${code}" @ONLY)
  target_sources(${target} PRIVATE ${source})
endfunction()
