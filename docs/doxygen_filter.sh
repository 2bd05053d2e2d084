#!/usr/bin/env bash
# What Doxygen reads of a file: the opening comment as the file's documentation, trailing comments as that of members,
# structures and enumerations. Fields of disk blocks, whose names are those in their structure's comment, need none of
# their own. Moves and what the language gives for nothing are passed over. In guides,
# the marks for tests/docs/blocks.py are left out. Line numbers stay.
#   doxygen_filter.sh FILE
set -euo pipefail
case $1 in
  *.md) # links to headings and out of docs/ are for readers of the files themselves
    sed -E -e 's/^<!-- (file|run|context|scope|compile|skip).*-->$//' -e 's/\[([^]]*)\]\((#|\.\.)[^)]*\)/\1/g' "$1" ;;
  *) awk '
      NR == 1 && /^\/\/ / { print "/// \\file"; opening = 1 }
      /^#pragma once/ { next }                                       # makes up for the line above
      opening && /^\/\// { sub(/^\/\//, "///"); print; next }
      { opening = 0 }
      /= (delete|default);/ { print ""; next }
      /^ *(explicit )?[A-Z][A-Za-z]*\([A-Z][A-Za-z]*&& / || /operator=\([A-Z][A-Za-z]*&& / || /^ *~[A-Z]/ {
        sub(/^ */, "/** Moves, or ends. */ "); print; next }
      /^ *\/\/\/ / { print; documented = 1; next }                   # documentation already
      documented && !/^ *struct / { documented = 0; print; next }
      { documented = 0 }
      /^ *(struct|class|enum class) .*[{] +\/\/ [^ ]/ {
        text = $0; sub(/.*[{] +\/\/ /, "", text); code = $0; sub(/ +\/\/ .*/, "", code)
        print "/** " text " */ " code; in_struct = code ~ /struct Block/; next }
      /^ +[A-Za-z_:<>0-9]+ [a-z_0-9]+(, [a-z_0-9]+)+;/ {             # a, b; is two fields
        text = $0; if (!sub(/.*; +\/\/ /, "", text)) text = "See the structure."
        code = $0; sub(/;.*/, "", code); n = split(code, part, ", ")
        type = part[1]; sub(/ [a-z_0-9]+$/, "", type)
        out = "/** " text " */ " part[1] ";"
        for (i = 2; i <= n; ++i) out = out " /** " text " */ " type " " part[i] ";"
        print out; next }
      /[;,{}] +\/\/ [^ ]/ || /^ +k[A-Z][A-Za-z0-9]* +\/\/ / { sub(/ \/\/ /, " ///< "); trailing = 1; print; next }
      trailing && /^ +\/\/ [^ ]/ && match($0, /\/\//) > 24 { sub(/\/\/ /, "///< "); print; next }
      { trailing = 0 }
      /^ *};/ { in_struct = 0 }
      in_struct && /^ +[A-Za-z_:<>*, 0-9]+ [*&]*[a-z_0-9]+(\[[0-9]+\])?( = [^;()]*| = [a-z:_<>A-Z]*\([^;]*\)|, [a-z_, ]+)?;$/ {
        print $0 " ///< See the structure."; next }
      { print }' "$1" ;;
esac
