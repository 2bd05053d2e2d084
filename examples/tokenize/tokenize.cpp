// gemma-tokenize: text to ids, ids to text, and conversations to both; one JSON object per line in, one line
// out for each.
// Invariant: for a line that fails, {"error"} is written in its place; later lines are still processed.
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "examples/chat_json.hpp"
#include "examples/chat_template_flag.hpp"
#include "examples/program.hpp"
#include "examples/read_file.hpp"
#include "gguf/file.hpp"
#include "tokenizer/chat_template.hpp"
#include "tokenizer/tokenizer.hpp"

namespace {

using namespace gemma;
using Json = nlohmann::ordered_json;

std::string to_hex(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

/// Throws Error{kInvalidArgument} that says what form the line must have.
[[noreturn]] void not_of_form(const char* form) {
  throw Error(ErrorCode::kInvalidArgument, std::string("not a line of the form ") + form);
}

/// Converts lines; each kind of conversion has its own form.
class Lines {
 public:
  Lines(const Tokenizer& tokenizer, bool bos, bool special)
      : tokenizer_(tokenizer), bos_(bos), special_(special) {}

  /// Selects the template that chat() uses; "": the file's. Call before chat().
  void use_template(const std::string& name) { chat_ = ChatTemplate::from(tokenizer_.vocab(), name); }

  Json encode(const Json& in) const {
    const auto text = in.find("text");
    if (!in.is_object() || text == in.end() || !text->is_string()) not_of_form(R"({"text": "..."})");
    return {{"ids", tokenizer_.encode(text->get_ref<const std::string&>(),
                                      {.parse_special = special_, .add_bos = bos_})}};
  }

  Json decode(const Json& in) const {
    constexpr const char* kForm = R"({"ids": [2, 17, ...]})";
    const auto list = in.find("ids");
    if (!in.is_object() || list == in.end() || !list->is_array()) not_of_form(kForm);
    std::vector<TokenId> ids;
    for (const Json& id : *list) {
      if (!id.is_number_integer()) not_of_form(kForm);
      const auto value = id.get<std::int64_t>();
      if (value < 0 || value >= static_cast<std::int64_t>(tokenizer_.vocab().size())) {
        throw Error(ErrorCode::kInvalidArgument, "token id " + id.dump() + " is not in the vocabulary");
      }
      ids.push_back(static_cast<TokenId>(value));
    }
    const std::string bytes = tokenizer_.decode(ids, {.show_special = special_});
    return {{"text", utf8::replace_invalid(bytes)}, {"hex", to_hex(bytes)}};
  }

  Json chat(const Json& in) const {
    constexpr const char* kForm =
        R"({"messages": [{"role": "...", "content": "..."}, ...], "add_generation_prompt": true})";
    try {
      const std::vector<Message> messages = app::messages_of(in.at("messages"));
      const auto tools = in.find("tools");
      const std::vector<Value> declared =
          tools == in.end() || tools->is_null() ? std::vector<Value>() : app::tools_of(*tools);
      ChatOptions options{.add_generation_prompt = in.value("add_generation_prompt", true)};
      options.thinking = in.value("enable_thinking", false);
      options.tools = declared;
      Json out = {{"text", chat_->render(messages, options).text},
                  {"ids", chat_->encode(tokenizer_, messages, options)}};
      if (!chat_->recognised()) out["note"] = app::chat_template_note(*chat_);
      return out;
    } catch (const Json::exception&) {
      not_of_form(kForm);
    }
  }

 private:
  const Tokenizer& tokenizer_;
  bool bos_;
  bool special_;
  std::optional<ChatTemplate> chat_;
};

int run(int argc, char** argv) {
  std::string model, chat_template;
  bool bos = false, special = false, decode = false, chat = false;
  const app::CommandLine owner = app::command_line(
      "Text to token ids and back. Reads JSON objects from stdin, one per line:\n"
      "  {\"text\"} -> {\"ids\"};  --decode: {\"ids\"} -> {\"text\", \"hex\"};\n"
      "  --chat: {\"messages\", \"add_generation_prompt\", \"enable_thinking\", \"tools\"} -> {\"text\", "
      "\"ids\"},\n"
      "  with a \"note\" if the file's template is not a known one.\n"
      "A line that is wrong, or that the template refuses, becomes {\"error\"}, a result like others: the "
      "exit status stays 0.",
      "gemma-tokenize");
  CLI::App& cli = *owner;
  cli.add_option("-m,--model", model, "A GGUF file; one that holds a vocabulary only is sufficient")
      ->required()
      ->type_name("FILE");
  cli.add_flag("--bos", bos, "Add the vocabulary's BOS at the beginning");
  cli.add_flag("--special", special, "Control tokens in the text become their ids (decoding: are shown)");
  auto* d = cli.add_flag("--decode", decode, "Ids to text");
  auto* c = cli.add_flag("--chat", chat, "Conversations, by the file's chat template")->excludes(d);
  app::add_chat_template(cli, chat_template)->needs(c);
  app::parse(cli, argc, argv);

  const gguf::File file = gguf::File::open(model);
  const auto tokenizer = make_tokenizer(Vocab::from(file));
  app::print_notes("gemma-tokenize", tokenizer->vocab().notes());
  Lines lines(*tokenizer, bos, special);
  if (chat) lines.use_template(chat_template);
  std::ios::sync_with_stdio(false);
  for (std::string line; std::getline(std::cin, line);) {
    Json out;
    try {
      const Json in = Json::parse(line);
      out = chat ? lines.chat(in) : decode ? lines.decode(in) : lines.encode(in);
    } catch (const Json::parse_error& e) {
      out = {{"error", "not JSON (at byte " + std::to_string(e.byte) + ")"}};
    } catch (const Json::exception& e) {  // for example a number out of range
      out = {{"error", std::string("JSON that is not supported: ") + e.what()}};
    } catch (const Error& e) {
      out = {{"error", e.what()}};
    }
    app::write_stdout(out.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n');
    if (std::cin.rdbuf()->in_avail() <= 0) app::flush_stdout();  // the sender may wait for its answer
  }
  app::check_stdin_was_read(std::cin);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return gemma::app::run_program(argc, argv, "gemma-tokenize", run);
}
