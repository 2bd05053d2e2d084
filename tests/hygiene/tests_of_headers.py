#!/usr/bin/env python3
"""Each header of the library has tests.

    tests_of_headers.py CHECKOUT

The tests of FOLDER/NAME.hpp are in a file NAME_test.cpp in the same folder of tests/, which includes the header or mentions a
name that it declares. The tables below list headers whose tests are in another file, and headers that are tested as parts of a
whole. An entry that is no longer needed, or whose file does not mention the given name, fails the test too.
"""

import functools
import re
import sys
import tempfile
from pathlib import Path, PurePosixPath

from checkout import bare, files, included, lines_of, own_part, report, text_of, without_comments
from scopes import function_name, items

# FOLDER: the tests that cover all its headers together
FOLDERS = {
    "gemma/decoder": "tests/gemma/golden_test.cpp",  # compares named intermediate results with the reference
    "gemma/families": "tests/gemma/config_test.cpp",
    "gemma/grammar": "tests/grammar/grammar_test.cpp",
    "kernels/arch": "tests/kernels/registry_test.cpp",
    "kernels/encode": "tests/kernels/encoder_test.cpp",
    "kernels/generic": "tests/kernels/matmul_test.cpp",
    "kernels/reference": "tests/kernels/oracle_test.cpp",
    "tokenizer/dialects": "tests/tokenizer/dialects_test.cpp",
}
# HEADER: the file with its tests; a name that occurs in it and that the header, or one that includes it, declares (or the header,
# if the file includes it)
ELSEWHERE = {
    "gemma/aligned_buffer.hpp": ("tests/gemma/forward_test.cpp", "AlignedBuffer"),
    "gemma/c_guard.hpp": ("tests/api/c_api_test.cpp", "gemma_error"),
    "gemma/c_objects.hpp": ("tests/api/c_api_test.cpp", "gemma_session"),
    "gemma/checksum.hpp": ("tests/gemma/session_file_test.cpp", "Checksum"),
    "gemma/chunk.hpp": ("tests/gemma/forward_test.cpp", "Chunk"),
    "gemma/constrained_pick.hpp": ("tests/api/c_generation_test.cpp", "gemma_grammar"),
    "gemma/conversation.hpp": ("tests/install/python_test.py", "Conversation"),
    "gemma/draft_model.hpp": ("tests/gemma/draft_test.cpp", "size_bytes_for"),
    "gemma/embedder.hpp": ("tests/gemma/embedding_test.cpp", "Embedder"),
    "gemma/engine_error_code.hpp": ("tests/gemma/model_errors_test.cpp", "EngineErrorCode"),
    "gemma/importance_meter.hpp": ("tests/gemma/quantizer_test.cpp", "n_matrices"),
    "gemma/importances.hpp": ("tests/gemma/quantizer_test.cpp", "Importances"),
    "gemma/kv_pages.hpp": ("tests/gemma/kv_cache_test.cpp", "KvPool"),
    "gemma/log_probability.hpp": ("tests/api/session_test.cpp", "log_probability"),
    "gemma/model.hpp": ("tests/gemma/model_errors_test.cpp", "Model"),
    "gemma/options.hpp": ("tests/api/plan_test.cpp", "SessionOptions"),
    "gemma/piece_trie.hpp": ("tests/grammar/mask_test.cpp", "PieceTrie"),
    "gemma/prefix_cache.hpp": ("tests/api/batch_test.cpp", "Batch"),
    "gemma/quantize_plan.hpp": ("tests/gemma/quantizer_test.cpp", "TensorChoice"),
    "gemma/quantize_recipes.hpp": ("tests/gemma/quantizer_test.cpp", "kQuantizeRecipes"),
    "gemma/sequence.hpp": ("tests/gemma/session_test.cpp", "Session"),
    "gemma/text_windows.hpp": ("tests/programs/test_perplexity.py", "perplexity"),
    "gemma/thread_team.hpp": ("tests/gemma/threads_test.cpp", "parallel_for"),
    "gemma/token_layouts.hpp": ("tests/gemma/laws_test.cpp", "Model"),
    "gemma/version.hpp": ("tests/api/generation_test.cpp", "kVersion"),
    "gemma/weights.hpp": ("tests/gemma/model_errors_test.cpp", "make_cache"),
    "gemma/workspace.hpp": ("tests/gemma/forward_test.cpp", "Workspace"),
    "gguf/blocks.hpp": ("tests/kernels/dequantize_test.cpp", "row_bytes"),
    "gguf/error.hpp": ("tests/gguf/malformed_test.cpp", "ErrorCode"),
    "gguf/file_kind.hpp": ("tests/gemma/other_engines_test.cpp", "Vocab"),
    "gguf/os_file.hpp": ("tests/gguf/mapped_file_test.cpp", "MappedFile"),
    "gguf/unsupported_types.hpp": ("tests/gguf/dtype_test.cpp", "find_unsupported_type"),
    "gguf/tensor_view.hpp": ("tests/gguf/file_test.cpp", "TensorView"),
    "kernels/cpu_features.hpp": ("tests/kernels/registry_test.cpp", "CpuFeatures"),
    "kernels/grid_codes.hpp": ("tests/kernels/grids_test.cpp", "kGridIQ1"),
    "kernels/kernel_name.hpp": ("tests/kernels/matmul_test.cpp", "matmul_kernel"),
    "kernels/kernel_table.hpp": ("tests/kernels/registry_test.cpp", "KernelTable"),
    "kernels/reference.hpp": ("tests/kernels/vector_test.cpp", "kernels/reference.hpp"),
    "tokenizer/agent_writer.hpp": ("tests/tokenizer/gemma4_test.cpp", "without_thoughts"),
    "tokenizer/bpe.hpp": ("tests/tokenizer/goldens_test.cpp", "make_tokenizer"),
    "tokenizer/bpe_merge.hpp": ("tests/tokenizer/malformed_vocabulary_test.cpp", "MergeTable"),
    "tokenizer/chat_text.hpp": ("tests/tokenizer/chat_template_test.cpp", "ChatTemplate"),
    "tokenizer/line_bpe.hpp": ("tests/tokenizer/gemma4_test.cpp", "make_tokenizer"),
    "tokenizer/marker_ids.hpp": ("tests/tokenizer/dialects_test.cpp", "Vocab"),
    "tokenizer/message.hpp": ("tests/tokenizer/chat_template_test.cpp", "Message"),
    "tokenizer/model_proto.hpp": ("tests/tokenizer/goldens_test.cpp", "make_tokenizer"),
    "tokenizer/piece_index.hpp": ("tests/tokenizer/malformed_vocabulary_test.cpp", "PieceIndex"),
    "tokenizer/piece_matcher.hpp": ("tests/tokenizer/goldens_test.cpp", "make_tokenizer"),
    "tokenizer/piece_table.hpp": ("tests/tokenizer/malformed_vocabulary_test.cpp", "kMaxPieceBytes"),
    "tokenizer/sampling_defaults.hpp": ("tests/tokenizer/dialects_test.cpp", "sampling_defaults"),
    "tokenizer/spm.hpp": ("tests/tokenizer/goldens_test.cpp", "make_tokenizer"),
    "tokenizer/stream_decoder.hpp": ("tests/tokenizer/demo_vocabularies_test.cpp", "StreamDecoder"),
    "tokenizer/template_form.hpp": ("tests/tokenizer/dialects_test.cpp", "TemplateForm"),
    "tokenizer/thoughts.hpp": ("tests/tokenizer/gemma4_test.cpp", "ThoughtSplitter"),
    "tokenizer/token_types.hpp": ("tests/tokenizer/malformed_vocabulary_test.cpp", "TokenType"),
    "tokenizer/tokenizer.hpp": ("tests/tokenizer/chat_template_test.cpp", "make_tokenizer"),
    "tokenizer/tokenizer_base.hpp": ("tests/tokenizer/demo_vocabularies_test.cpp", "Tokenizer"),
    "tokenizer/tool_writer.hpp": ("tests/tokenizer/gemma4_test.cpp", "without_thoughts"),
    "tokenizer/turn_writer.hpp": ("tests/tokenizer/chat_template_test.cpp", "ChatTemplate"),
    "tokenizer/utf8.hpp": ("tests/tokenizer/demo_vocabularies_test.cpp", "valid_prefix"),
    "tokenizer/value.hpp": ("tests/tokenizer/gemma4_test.cpp", "Value"),
    "tokenizer/vocab.hpp": ("tests/tokenizer/malformed_vocabulary_test.cpp", "Vocab"),
    "tokenizer/words.hpp": ("tests/tokenizer/goldens_test.cpp", "make_tokenizer"),
}
# HEADER: the reason why it has no tests
UNTESTED = {
    "gemma/gemma.hpp": "includes the others",
    "gguf/linkage.hpp": "macros, which each unit uses",
    "gguf/finite.hpp": "what tests/install/strict_user.cpp asks with -ffast-math",
    "tokenizer/text_range.hpp": "a pair of positions",
}


# FOLDER: the folders of tests/ that may contain NAME_test.cpp of its headers
TESTS_OF = {"gguf": ("gguf",), "kernels": ("kernels",), "tokenizer": ("tokenizer",), "gemma": ("gemma", "api", "grammar")}


# names that prove nothing, since many headers declare them
EVERYWHERE = {"static_assert", "to_string", "size_bytes", "memory_bytes", "n_ctx", "kAll", "kNone"}


@functools.lru_cache(maxsize=None)
def declared(root, header):
    """The names that a header declares (types, functions, constants), without plain words, which any text may contain."""
    text = bare(own_part(text_of(root, header)))
    names = re.findall(r"\b(?:enum class|class|struct|enum|concept|using)\s+(\w+)|\bconstexpr\b[^=;(){}]*?\b(k[A-Z]\w+)", text)
    enumerators = re.findall(r"\benum class\b[^{;]*\{([^}]*)\}", text)
    words = {*sum(names, ()), *re.findall(r"\w+", " ".join(enumerators)), *(function_name(item.head) for item in items(text))}
    return frozenset(word for word in words - EVERYWHERE if re.search("[A-Z_]", word) and len(word) > 3)


@functools.lru_cache(maxsize=None)
def words_of(root, test):
    text = text_of(root, test)
    return frozenset(re.findall(r"\w+", bare(text) if test.endswith(".cpp") else text))


def knows(root, test, header):
    """Whether a file contains tests, and includes the header or mentions a name that it declares."""
    include = rf'(?m)^\s*#\s*include\s*"{re.escape(header)}"'
    return bool(re.search(r"(?m)^(TYPED_)?TEST(_[FP])?\(", bare(text_of(root, test))) and
                (re.search(include, without_comments(text_of(root, test))) or declared(root, header) & words_of(root, test)))


def users(root, headers, header):
    """The header itself and all headers that include it, directly or indirectly, also by their .inl or .cpp."""
    found, new = set(), {header}
    while new:
        found |= new
        new = {h for h, others in direct(root, headers).items() if h not in found and others & new}
    return found


@functools.lru_cache(maxsize=None)
def direct(root, headers):
    """For each header, the headers that it includes."""
    of = {h: [h, h.replace(".hpp", ".inl"), h.replace(".hpp", ".cpp")] for h in headers}
    return {h: {other for file in of[h] if (root / file).is_file() for _, other in included(root, file)} for h in headers}


def fault_elsewhere(root, names, headers, header):
    file, word = ELSEWHERE[header]
    if file not in names:
        return f"there is no {file}"
    if word == header and f'#include "{header}"' in lines_of(root, file):
        return None
    if word not in words_of(root, file):
        return f"{file} does not have {word}"
    if file.endswith("_test.cpp") and not any(word in declared(root, h) for h in users(root, headers, header)):
        return f"neither it nor a header that includes it declares {word}, as {file} has it"
    return None


def fault(root, names, headers, header):
    """What is wrong with the tests of a header, or None."""
    path = PurePosixPath(header)
    own = [f"tests/{folder}/{path.stem}_test.cpp" for folder in TESTS_OF[path.parts[0]]]
    has_own = any(test in names and knows(root, test, header) for test in own)
    excused = header in ELSEWHERE or header in UNTESTED
    if has_own and excused:
        return "is excused and need not be"
    if header in ELSEWHERE:
        return fault_elsewhere(root, names, headers, header)
    if not has_own and not excused and str(path.parent) not in FOLDERS:
        return f"there is no {' or '.join(own)} that includes it or names what it declares, and no line about it in tests_of_headers.py"
    return None


# a checkout in which each header lost_... lacks tests, and no other
BROKEN = {
    "gguf/good.hpp": "struct Good {};", "tests/gguf/good_test.cpp": "TEST(A, B) { Good(); }",
    "gguf/lost_a.hpp": "struct LostA {};", "tests/gguf/lost_a_test.cpp": "// LostA\nTEST(A, B) {}",
    "gemma/new/lost_b.hpp": "struct LostB {};", "tests/gguf/lost_b_test.cpp": "TEST(A, B) { LostB(); }",
    "kernels/lost_c.hpp": "int lost_c();", "tests/kernels/lost_c_test.cpp": '#include "kernels/lost_c.hpp"\nint main() {}',
}


def wrong_rules():
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, text in BROKEN.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        headers = frozenset(name for name in BROKEN if name.endswith(".hpp"))
        yield from (f"tests/hygiene/tests_of_headers.py: the rules are wrong about {header} of BROKEN" for header in headers
                    if ("lost" in header) != (fault(root, BROKEN, headers, header) is not None))


def main():
    root = Path(sys.argv[1])
    names = set(files(root))
    headers = frozenset(f for f in names if re.match(r"(gguf|kernels|tokenizer|gemma)/.*\.hpp$", f))
    wrong = [f"{header}: {why}" for header in sorted(headers) if (why := fault(root, names, headers, header))]
    wrong += [f"tests/hygiene/tests_of_headers.py: {x}: there is no such header" for x in {*ELSEWHERE, *UNTESTED} - headers]
    for folder, file in FOLDERS.items():
        if file not in names or not any(h.startswith(folder + "/") for h in headers):
            wrong.append(f"tests/hygiene/tests_of_headers.py: {folder}: there is no {file}, or no such folder")
    return report([*wrong, *wrong_rules()], f"tests_of_headers: ok ({len(headers)} headers)")


if __name__ == "__main__":
    sys.exit(main())
