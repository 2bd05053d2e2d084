# gemma_warnings: for targets of this project only. gemma_sanitize: also applied to targets that link them.
add_library(gemma_warnings INTERFACE)
target_compile_options(gemma_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
                                                -Wnon-virtual-dtor -Wcast-align -Wold-style-cast)
if(GEMMA_WERROR)
  target_compile_options(gemma_warnings INTERFACE -Werror)
endif()
# a * b + c is rounded twice unless the code calls fma: the same source gives the same bits everywhere
target_compile_options(gemma_warnings INTERFACE -ffp-contract=off)

add_library(gemma_sanitize INTERFACE)
if(GEMMA_SANITIZE)
  target_compile_options(gemma_sanitize INTERFACE -fsanitize=${GEMMA_SANITIZE} -fno-omit-frame-pointer
                                                  -fno-sanitize-recover=all)
  target_link_options(gemma_sanitize INTERFACE -fsanitize=${GEMMA_SANITIZE})
endif()
