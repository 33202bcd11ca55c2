# SPDX-License-Identifier: MIT
# Writes OUTPUT, a C file with the text of FILES (names in DIRECTORY) as zero-terminated arrays:
# page.css is page_css.
set(content "#include \"harness/page_write.h\"\n")
foreach(file IN LISTS FILES)
  file(READ ${DIRECTORY}/${file} hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(REGEX REPLACE "(................................................................................)" "\\1\n" bytes "${bytes}")
  string(MAKE_C_IDENTIFIER ${file} name)
  string(APPEND content "\nconst unsigned char ${name}[] = {\n${bytes}0};\n")
endforeach()
file(WRITE ${OUTPUT} "${content}")
