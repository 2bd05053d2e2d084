#!/usr/bin/env python3
"""Each header of the library has tests, and each test file is built.

    tests_of_headers.py CHECKOUT

The tests of NAME.hpp are in a file NAME_test.cpp below tests/. The tables below list headers whose tests are in another
file, and headers that are tested as parts of a whole. An entry that is no longer needed, or whose file does not mention
the header's name, fails the test too.
"""

import re
import sys
from pathlib import Path, PurePosixPath

from checkout import files, report

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
# HEADER: the file with its tests, a name of the header that occurs in it
ELSEWHERE = {
    "gemma/aligned_buffer.hpp": ("tests/api/plan_test.cpp", "kOutOfMemory"),
    "gemma/c_guard.hpp": ("tests/api/c_api_test.cpp", "gemma_error_get_code"),
    "gemma/c_objects.hpp": ("tests/api/c_api_test.cpp", "gemma_session_free"),
    "gemma/checksum.hpp": ("tests/gemma/session_file_test.cpp", "kMalformed"),
    "gemma/chunk.hpp": ("tests/gemma/forward_test.cpp", "Chunk"),
    "gemma/constrained_pick.hpp": ("tests/grammar/mask_test.cpp", "GrammarMask"),
    "gemma/conversation.hpp": ("tests/install/python_test.py", "Conversation"),
    "gemma/draft_model.hpp": ("tests/gemma/draft_test.cpp", "DraftSource"),
    "gemma/embedder.hpp": ("tests/gemma/embedding_test.cpp", "Embedder"),
    "gemma/importance_meter.hpp": ("tests/gemma/quantizer_test.cpp", "Importances"),
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
    "gemma/text_windows.hpp": ("tests/programs/test_perplexity.py", "gemma-perplexity"),
    "gemma/thread_team.hpp": ("tests/gemma/threads_test.cpp", "threads"),
    "gemma/token_layouts.hpp": ("tests/gemma/laws_test.cpp", "forward"),
    "gemma/version.hpp": ("tests/api/generation_test.cpp", "kVersion"),
    "gemma/weights.hpp": ("tests/gemma/model_errors_test.cpp", "kMissingTensor"),
    "gemma/workspace.hpp": ("tests/gemma/forward_test.cpp", "Workspace"),
    "gguf/blocks.hpp": ("tests/kernels/dequantize_test.cpp", "blocks"),
    "gguf/error.hpp": ("tests/gguf/printable_test.cpp", "quoted"),
    "gguf/fnv.hpp": ("tests/tokenizer/dialects_test.cpp", "template"),
    "gguf/file_kind.hpp": ("tests/gguf/malformed_test.cpp", "kBadMagic"),
    "gguf/os_file.hpp": ("tests/gguf/mapped_file_test.cpp", "MappedFile"),
    "gguf/unsupported_types.hpp": ("tests/gguf/dtype_test.cpp", "find_unsupported_type"),
    "gguf/tensor_view.hpp": ("tests/gguf/file_test.cpp", "TensorView"),
    "kernels/cpu_features.hpp": ("tests/kernels/registry_test.cpp", "CpuFeatures"),
    "kernels/grid_codes.hpp": ("tests/kernels/grids_test.cpp", "kGridIQ1"),
    "kernels/kernel_name.hpp": ("tests/kernels/registry_test.cpp", "name"),
    "kernels/kernel_table.hpp": ("tests/kernels/registry_test.cpp", "KernelTable"),
    "kernels/reference.hpp": ("tests/kernels/vector_test.cpp", "reference"),
    "tokenizer/agent_writer.hpp": ("tests/tokenizer/gemma4_test.cpp", "chat"),
    "tokenizer/bpe.hpp": ("tests/tokenizer/goldens_test.cpp", "encode"),
    "tokenizer/bpe_merge.hpp": ("tests/tokenizer/malformed_vocabulary_test.cpp", "merges"),
    "tokenizer/chat_text.hpp": ("tests/tokenizer/chat_template_test.cpp", "render"),
    "tokenizer/line_bpe.hpp": ("tests/tokenizer/gemma4_test.cpp", "LineBpe"),
    "tokenizer/marker_ids.hpp": ("tests/tokenizer/dialects_test.cpp", "chat"),
    "tokenizer/message.hpp": ("tests/tokenizer/chat_template_test.cpp", "Message"),
    "tokenizer/model_proto.hpp": ("tests/tokenizer/goldens_test.cpp", "encode"),
    "tokenizer/piece_index.hpp": ("tests/tokenizer/malformed_vocabulary_test.cpp", "collide"),
    "tokenizer/piece_matcher.hpp": ("tests/tokenizer/goldens_test.cpp", "encode"),
    "tokenizer/piece_table.hpp": ("tests/tokenizer/malformed_vocabulary_test.cpp", "types"),
    "tokenizer/sampling_defaults.hpp": ("tests/tokenizer/dialects_test.cpp", "sampling_defaults"),
    "tokenizer/spm.hpp": ("tests/tokenizer/goldens_test.cpp", "encode"),
    "tokenizer/stream_decoder.hpp": ("tests/tokenizer/demo_vocabularies_test.cpp", "StreamDecoder"),
    "tokenizer/template_form.hpp": ("tests/tokenizer/dialects_test.cpp", "template"),
    "tokenizer/thoughts.hpp": ("tests/tokenizer/gemma4_test.cpp", "ThoughtSplitter"),
    "tokenizer/token_types.hpp": ("tests/tokenizer/malformed_vocabulary_test.cpp", "types"),
    "tokenizer/tokenizer.hpp": ("tests/tokenizer/chat_template_test.cpp", "make_tokenizer"),
    "tokenizer/tokenizer_base.hpp": ("tests/tokenizer/demo_vocabularies_test.cpp", "add_bos"),
    "tokenizer/tool_writer.hpp": ("tests/tokenizer/gemma4_test.cpp", "tools"),
    "tokenizer/turn_writer.hpp": ("tests/tokenizer/chat_template_test.cpp", "render"),
    "tokenizer/utf8.hpp": ("tests/tokenizer/demo_vocabularies_test.cpp", "utf8"),
    "tokenizer/vocab.hpp": ("tests/tokenizer/malformed_vocabulary_test.cpp", "Vocab"),
    "tokenizer/words.hpp": ("tests/tokenizer/pretokenize_test.cpp", "pretokenize"),
}
# HEADER: the reason why it has no tests
UNTESTED = {
    "gemma/gemma.hpp": "includes the others",
    "gguf/linkage.hpp": "macros, which each unit uses",
    "gguf/finite.hpp": "what tests/install/strict_user.cpp asks with -ffast-math",
    "tokenizer/text_range.hpp": "a pair of positions",
}


def main():
    root = Path(sys.argv[1])
    names = set(files(root))
    tests = {f for f in names if f.startswith("tests/") and f.endswith("_test.cpp")}
    named = {PurePosixPath(f).name for f in tests}
    headers = {f for f in names if re.match(r"(gguf|kernels|tokenizer|gemma)/.*\.hpp$", f)}
    wrong = []
    for header in sorted(headers):
        path = PurePosixPath(header)
        has_own = f"{path.stem}_test.cpp" in named
        excused = header in ELSEWHERE or header in UNTESTED
        if has_own and excused:
            wrong.append(f"{header}: is excused and need not be")
        elif header in ELSEWHERE:
            file, word = ELSEWHERE[header]
            if file not in names:
                wrong.append(f"{header}: there is no {file}")
            elif not re.search(rf"(?<![A-Za-z0-9]){re.escape(word)}", (root / file).read_text(encoding="utf-8")):
                wrong.append(f"{header}: {file} does not have {word}")
        elif not has_own and not excused and str(path.parent) not in FOLDERS:
            wrong.append(f"{header}: there is no {path.stem}_test.cpp, and no line about it in tests_of_headers.py")
    wrong += [f"tests/hygiene/tests_of_headers.py: {x}: there is no such header" for x in {*ELSEWHERE, *UNTESTED} - headers]
    wrong += [f"tests/hygiene/tests_of_headers.py: {folder}: there is no {file}" for folder, file in FOLDERS.items() if file not in names]
    for test in sorted(tests):
        lists = [str(p / "CMakeLists.txt") for p in PurePosixPath(test).parents if str(p) != "."]
        paths = {str(PurePosixPath(test).relative_to(PurePosixPath(x).parent)) for x in lists if x in names}
        text = "".join((root / x).read_text(encoding="utf-8") for x in lists if x in names)
        if not any(re.search(rf"(?<![\w/]){re.escape(n)}\b", text) for n in paths):
            wrong.append(f"{test}: no CMakeLists.txt builds it")
    return report(wrong, f"tests_of_headers: ok ({len(headers)} headers, {len(tests)} test files)")


if __name__ == "__main__":
    sys.exit(main())
