# Writes ROOT/tgo_stamp.h: SHA-256 over the native sources and INPUTS (flags, compiler, libtorch).
# Runs at every build and rewrites the header only when the hash changed, so that nothing is
# compiled again without need.
file(GLOB_RECURSE sources RELATIVE "${ROOT}" "${ROOT}/src/*.cc" "${ROOT}/src/*.hh")
list(FILTER sources EXCLUDE REGEX "^src/(tests|cuda)/")
list(APPEND sources tgo.h)
list(SORT sources)

file(SHA256 "${INPUTS}" text)
foreach(source ${sources})
  file(SHA256 "${ROOT}/${source}" hash)
  string(APPEND text "\n${source} ${hash}")
endforeach()
string(SHA256 stamp "${text}")

set(header "${ROOT}/tgo_stamp.h")
set(content "/* Made by the build (cmake/stamp.cmake): hash of the native library's sources, flags and libtorch. */\n#define TGO_STAMP \"${stamp}\"\n")
set(before "")
if(EXISTS "${header}")
  file(READ "${header}" before)
endif()
if(NOT before STREQUAL content)
  file(WRITE "${header}" "${content}")
endif()
