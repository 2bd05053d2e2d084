# Common parts of all programs: gemma_program, the library of flags and of the common part of main(), and precompiled
# headers of third parties. CLI11's header defines objects and takes 4 s in each unit, so units without flags use
# gemma_program_headers, which does not contain it; units with flags use the headers of gemma_program.
add_compile_options(${GEMMA_PROGRAM_OPTIONS}) # for targets that are added below
find_package(CLI11 REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
set(headers <fmt/format.h> <nlohmann/json.hpp> <algorithm> <chrono> <filesystem> <functional> <iostream> <map> <optional>)
gemma_precompile(gemma_program_headers LINK fmt::fmt nlohmann_json::nlohmann_json HEADERS ${headers})

set(parts program.cpp engine_flags.cpp chat_template_flag.cpp sampling_flags.cpp)
list(TRANSFORM parts PREPEND ${PROJECT_SOURCE_DIR}/examples/)
add_library(gemma_program STATIC ${parts})
set_target_properties(gemma_program PROPERTIES UNITY_BUILD ON)
target_link_libraries(gemma_program PUBLIC gemma_gemma CLI11::CLI11 PRIVATE gemma_warnings fmt::fmt
                                                                            nlohmann_json::nlohmann_json)
target_precompile_headers(gemma_program PRIVATE <CLI/CLI.hpp> ${headers} ${PROJECT_SOURCE_DIR}/gemma/gemma.hpp)
