# SPDX-License-Identifier: MIT
# Writes OUTPUT, the definitions that harness/context.h declares; only if they changed, so that a
# build without a new commit compiles nothing.
execute_process(
  COMMAND git describe --always --dirty --abbrev=12 --exclude=*
  WORKING_DIRECTORY ${SOURCE_DIR}
  OUTPUT_VARIABLE commit
  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT commit)
  set(commit unknown)
endif()
file(
  CONFIGURE OUTPUT ${OUTPUT}
  CONTENT [[#include "harness/context.h"

const char build_commit[] = "@commit@";
const char build_compiler[] = "@COMPILER@";
const char build_compiler_path[] = "@COMPILER_PATH@";
const char build_generator[] = "@GENERATOR@";
const char build_source[] = "@SOURCE_DIR@";
const char build_flags[] = "@FLAGS@";
]]
  @ONLY)
