# The CUDA side, libtgo_cuda.so, beside libtgo.so: kernels by nvcc, the rest by the host's compiler.
# Included with TGO_CUDA=ON; third_party/find_cuda.sh says where the compiler is (cgo/build.sh cuda).
#
# Kernel files know nothing of torch and compile in seconds. Machine code for compute capability 8.0
# and 9.0, and PTX for later ones.
set(TGO_NVCC "" CACHE FILEPATH "nvcc 13.0")
set(TGO_CUDA_INCLUDE "" CACHE PATH "folder with cuda_runtime_api.h")
if(NOT EXISTS "${TGO_NVCC}" OR NOT EXISTS "${TGO_CUDA_INCLUDE}/cuda_runtime_api.h")
  message(FATAL_ERROR "TGO_NVCC='${TGO_NVCC}' or TGO_CUDA_INCLUDE='${TGO_CUDA_INCLUDE}' is not there: run make setup-cuda")
endif()
if(NOT EXISTS "${LIBTORCH}/lib/libtorch_cuda.so")
  message(FATAL_ERROR "LIBTORCH='${LIBTORCH}' holds no lib/libtorch_cuda.so: a libtorch with CUDA is needed")
endif()

file(GLOB cuda_kernels CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/src/cuda/*.cu")
file(GLOB cuda_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/src/cuda/*.cc")
file(GLOB cuda_headers CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/src/cuda/*.hh" "${CMAKE_SOURCE_DIR}/src/cuda/*.cuh")
set(cuda_objects "")
file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/cuda")
foreach(kernel ${cuda_kernels})
  get_filename_component(name "${kernel}" NAME_WE)
  set(object "${CMAKE_BINARY_DIR}/cuda/${name}.o")
  add_custom_command(OUTPUT "${object}" DEPENDS "${kernel}" ${cuda_headers}
    COMMAND "${TGO_NVCC}" -std=c++20 -O3 -DNDEBUG
            -gencode arch=compute_80,code=sm_80 -gencode "arch=compute_90,code=[sm_90,compute_90]"
            -Xcompiler -fPIC,-fvisibility=hidden,-Wall,-Werror -c "${kernel}" -o "${object}"
    COMMENT "nvcc ${name}.cu" VERBATIM)
  list(APPEND cuda_objects "${object}")
endforeach()
set_source_files_properties(${cuda_objects} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)

# The runtime is the one that libtorch_cuda uses. libtorch_cuda's own needs (cuBLAS, cuDNN …) may be
# missing where this is compiled: they are looked for when the library is loaded.
file(GLOB cudart "${site}/nvidia/*/lib/libcudart.so.13")
if(NOT cudart)
  find_library(cudart NAMES libcudart.so.13 PATHS "${TGO_CUDA_INCLUDE}/../lib" "${TGO_CUDA_INCLUDE}/../lib64")
endif()
add_library(tgo_cuda SHARED ${cuda_sources} ${cuda_objects})
add_dependencies(tgo_cuda stamp)
target_include_directories(tgo_cuda SYSTEM PRIVATE "${LIBTORCH}/include" "${TGO_CUDA_INCLUDE}")
target_compile_options(tgo_cuda PRIVATE ${flags} ${optimised} -Wno-interference-size)
target_link_directories(tgo_cuda PRIVATE "${LIBTORCH}/lib")
target_link_options(tgo_cuda PRIVATE -Wl,--as-needed -Wl,--no-undefined -Wl,--allow-shlib-undefined
  -Wl,-z,relro,-z,now,-z,noexecstack "-Wl,-rpath-link,${LIBTORCH}/lib:${nvidia_path}")
target_link_libraries(tgo_cuda PRIVATE torch_cuda c10_cuda torch_cpu c10 ${cudart})
set_target_properties(tgo_cuda PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${TGO_OUTPUT}" LINKER_LANGUAGE CXX)

# Kernels against the same computation in double precision, and their times; need a device to run.
foreach(name kernels_test kernels_time)
  add_executable(cuda_${name} EXCLUDE_FROM_ALL "${CMAKE_SOURCE_DIR}/src/cuda/tests/${name}.cc" ${cuda_objects})
  target_include_directories(cuda_${name} SYSTEM PRIVATE "${TGO_CUDA_INCLUDE}")
  target_compile_options(cuda_${name} PRIVATE ${flags} ${optimised})
  target_link_libraries(cuda_${name} PRIVATE ${cudart} Threads::Threads)
endforeach()
