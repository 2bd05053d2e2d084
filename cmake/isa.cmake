# One translation unit per instruction set. Only that unit is compiled with its flags; it is selected at run time.

# the flags of this machine's CPU, of x86-64 on Linux; empty where they are not known
set(gemma_cpu_flags "")
if(NOT CMAKE_CROSSCOMPILING AND EXISTS /proc/cpuinfo)
  file(STRINGS /proc/cpuinfo gemma_cpu_flags REGEX "^flags[ \t]*:" LIMIT_COUNT 1)
endif()

# gemma_runs_here(RESULT flags...): whether this machine's CPU supports the instruction sets of the compiler flags; ON if
# its flags are not known.
function(gemma_runs_here result)
  set(${result} ON PARENT_SCOPE)
  foreach(flag ${ARGN})
    string(REGEX REPLACE "^-m(avx|avx512)(vnni)$" "-m\\1_\\2" flag "${flag}")
    string(REGEX REPLACE "^-m" " " name "${flag} ")
    string(FIND "${gemma_cpu_flags} " "${name}" place)
    if(gemma_cpu_flags AND flag MATCHES "^-m" AND place EQUAL -1)
      set(${result} OFF PARENT_SCOPE)
    endif()
  endforeach()
endfunction()

# gemma_isa_unit(NAME [flags...]): adds kernels/arch/NAME.cpp, and defines a macro so that the registry includes it.
# Builds for this CPU alone omit units that it cannot run, and so do builds with a sanitizer, where compiling one takes a
# minute and a half.
function(gemma_isa_unit name)
  set(options ${ARGN})
  if(GEMMA_SANITIZE OR GEMMA_KERNELS_FOR_THIS_CPU)
    gemma_runs_here(runs ${ARGN})
    if(NOT runs)
      message(STATUS "without the kernels ${name}, which this CPU cannot run")
      string(TOUPPER ${name} macro)
      set_property(SOURCE ${PROJECT_SOURCE_DIR}/kernels/arch/avx2.cpp APPEND PROPERTY COMPILE_DEFINITIONS
                   GEMMA_WITHOUT_${macro}) # the table that uses the matmuls of this unit
      return()
    endif()
  endif()
  if(GEMMA_SANITIZE MATCHES "undefined")
    # with UBSan, clang takes four times as long for this unrolled code; UBSan checks the same algorithms in scalar.cpp
    list(APPEND options -fno-sanitize=undefined)
  endif()
  if(GEMMA_SANITIZE MATCHES "address" AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    # ASan's checks as calls, not inline: they find the same errors, and clang takes a quarter less time (avx2: 65 s
    # instead of 88 s)
    list(APPEND options -mllvm -asan-instrumentation-with-call-threshold=0)
  endif()
  if(GEMMA_BUILD_FUZZ)
    # coverage of kernels does not help the fuzzer, and counting edges would slow down each execution
    list(APPEND options -fno-sanitize=fuzzer-no-link)
  endif()
  # in all builds: CI uses -O1 for the rest of the library and -O0 for programs and tests
  list(APPEND options $<$<CONFIG:Release>:-O3>)
  target_sources(gemma_kernel_objects PRIVATE ${PROJECT_SOURCE_DIR}/kernels/arch/${name}.cpp)
  set_property(SOURCE ${PROJECT_SOURCE_DIR}/kernels/arch/${name}.cpp PROPERTY COMPILE_OPTIONS ${options})
  string(TOUPPER ${name} macro)
  set_property(SOURCE ${PROJECT_SOURCE_DIR}/kernels/registry.cpp APPEND PROPERTY COMPILE_DEFINITIONS GEMMA_WITH_${macro})
endfunction()

target_sources(gemma_kernel_objects PRIVATE ${PROJECT_SOURCE_DIR}/kernels/arch/scalar.cpp)
set_property(SOURCE ${PROJECT_SOURCE_DIR}/kernels/arch/scalar.cpp PROPERTY COMPILE_OPTIONS $<$<CONFIG:Release>:-O3>)
# The encoders use vector types of the compiler, which warns that the calling convention of functions with such
# parameters depends on flags; all these functions are inlined.
target_sources(gemma_kernel_objects PRIVATE ${PROJECT_SOURCE_DIR}/kernels/arch/encode_portable.cpp)
set_property(SOURCE ${PROJECT_SOURCE_DIR}/kernels/arch/encode_portable.cpp
             PROPERTY COMPILE_OPTIONS -Wno-psabi $<$<CONFIG:Release>:-O3>)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  gemma_isa_unit(encode_avx2 -Wno-psabi -mavx2)
  # gcc 12 warns of registers that its AVX-512 intrinsics leave undefined deliberately (GCC PR 105593)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    set(quiet_intrinsics -Wno-maybe-uninitialized -Wno-uninitialized)
  endif()
  gemma_isa_unit(avx512vnni ${quiet_intrinsics} -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mavx512vbmi
                 -mavx512cd -mavx512ifma)  # xsimd's tag for VBMI in current versions requires these two
  get_property(built SOURCE ${PROJECT_SOURCE_DIR}/kernels/registry.cpp PROPERTY COMPILE_DEFINITIONS)
  if(GEMMA_KERNELS_FOR_THIS_CPU AND gemma_cpu_flags AND GEMMA_WITH_AVX512VNNI IN_LIST built)
    message(STATUS "without the kernels avx2 and avxvnni: this CPU runs avx512vnni")
  else()
    gemma_isa_unit(avx2 -mavx2 -mfma -mf16c)
    gemma_isa_unit(avxvnni -mavx2 -mfma -mf16c -mavxvnni)
  endif()
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  # gcc 12 groups loads before it allocates registers; tiles, which need most of the registers, would then spill
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    set(keep_order -fno-schedule-insns)
  endif()
  gemma_isa_unit(neon ${keep_order} -march=armv8.2-a+dotprod+fp16)
  gemma_isa_unit(neoni8mm ${keep_order} -march=armv8.2-a+dotprod+fp16+i8mm)
endif()
