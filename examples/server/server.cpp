// gemma-server: serves models over HTTP, for clients of OpenAI's and Anthropic's interfaces, with a page to
// chat with them.
// Invariant: an answer has the bits that it would have alone, whatever other requests run (law 1).
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "examples/chat_template_flag.hpp"
#include "examples/engine_flags.hpp"
#include "examples/interrupt.hpp"
#include "examples/program.hpp"
#include "examples/read_file.hpp"
#include "examples/server/api.hpp"
#include "examples/server/http_server.hpp"

namespace {

using namespace gemma;

constexpr const char* kName = "gemma-server";

struct Flags {
  server::ServingOptions serving;
  server::ApiOptions api;
  std::vector<std::string> models;
  std::string host = "127.0.0.1";
  int port = 8080;
  std::string key_file;
  server::Log::Form log = server::Log::Form::kText;
};

/// For CLI::Option::check: accepts what browsers send as the origin of a page, and "*".
std::string web_origin(const std::string& text) {
  const std::size_t host = text.find("://");
  const bool is_page = host != std::string::npos && host != 0 && host + 3 < text.size() &&
                       text.find_first_of("/ ?#,", host + 3) == std::string::npos;
  if (is_page || text == "*" || text == "null") return "";
  return gemma::quoted(text) +
         " is not an origin such as https://example.org (no path, no slash at its end), nor *";
}

void add_flags(CLI::App& cli, Flags& flags) {
  cli.add_option("-m,--model", flags.models,
                 "A model to serve, a GGUF file: FILE, or NAME=FILE for the name that clients call it by "
                 "(default: the file's, without .gguf). May be repeated: the models are then loaded "
                 "when they are asked for. A single one answers to any name")
      ->required()
      ->take_all()
      ->allow_extra_args(false)
      ->type_name("FILE");
  cli.add_option("--host", flags.host,
                 "Address or name to listen at; 0.0.0.0 or :: for all interfaces (default: 127.0.0.1, this "
                 "machine alone)")
      ->type_name("HOST");
  cli.add_option("--port", flags.port, "Port to listen at; 0: any that is free (default: 8080)")
      ->check(app::WholeNumber{0, 65535})
      ->type_name("N");
  cli.add_option("--api-key", flags.api.keys,
                 "A key that clients must send; may be repeated (default: no key is required)")
      ->take_all()
      ->allow_extra_args(false)
      ->type_name("KEY");
  cli.add_option(
         "--api-key-file", flags.key_file,
         "A file of such keys, one per line: unlike --api-key, it keeps them out of the list of processes")
      ->type_name("FILE");
  cli.add_option(
         "--cors", flags.api.origins,
         "Let pages of this origin, such as https://example.org, call the server from a browser; *: all; "
         "may be repeated (default: none but the server's own page)")
      ->check(web_origin)
      ->take_all()
      ->allow_extra_args(false)
      ->type_name("ORIGIN");
  cli.add_option(
         "--parallel", flags.serving.parallel,
         "Maximum number of answers of a model that are generated at one time; others wait (default: 8)")
      ->check(app::WholeNumber{1, 1024})
      ->type_name("N");
  cli.add_option_function<std::string>(
         "--log",
         [&flags](const std::string& form) {
           flags.log = form == "json"  ? server::Log::Form::kJson
                       : form == "off" ? server::Log::Form::kOff
                                       : server::Log::Form::kText;
         },
         "Lines on standard error, one for each request: text, json or off (default: text)")
      ->check(CLI::IsMember({"text", "json", "off"}).description(""))
      ->type_name("FORM");
}

/// Parses "FILE" or "NAME=FILE"; an existing file whose own name has an equals sign is taken as FILE.
server::ModelFile model_file(const std::string& given) {
  const std::size_t equals = given.find('=');
  if (equals != std::string::npos && equals != 0 && given.substr(0, equals).find('/') == std::string::npos &&
      !std::filesystem::exists(given)) {
    return {given.substr(0, equals), given.substr(equals + 1)};
  }
  const std::filesystem::path path(given);
  return {(path.extension() == ".gguf" ? path.stem() : path.filename()).string(), given};
}

std::vector<server::ModelFile> model_files(const std::vector<std::string>& given) {
  std::vector<server::ModelFile> out;
  for (const std::string& g : given) {
    out.push_back(model_file(g));
    const auto same = [&](const server::ModelFile& f) { return f.name == out.back().name; };
    if (std::count_if(out.begin(), out.end(), same) > 1) {
      throw Error(ErrorCode::kInvalidArgument, "two models are called " + gemma::quoted(out.back().name) +
                                                   "; NAME=FILE gives another name");
    }
  }
  return out;
}

void read_keys(const std::string& path, std::vector<std::string>& keys) {
  const std::string text = app::read_file(path);
  const std::size_t before = keys.size();
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (!line.empty()) keys.push_back(line);
    at = end + 1;
  }
  if (keys.size() == before) throw Error(ErrorCode::kInvalidArgument, path + ": holds no key");
}

void tell_of_model(server::Log& log, const server::ServedModel& m) {
  log.write("model", {{"name", server::Log::text(m.name())},
                      {"file", server::Log::text(m.model().file().path())},
                      {"bytes", std::to_string(m.memory_bytes())},
                      {"context", std::to_string(m.n_ctx())}});
  std::vector<std::string> notes = m.model().notes();
  if (!m.chat().note().empty() && m.scheduler_if_any() != nullptr)
    notes.push_back(app::chat_template_note(m.chat()));
  for (const std::string& note : notes) {
    log.write("note", {{"model", server::Log::text(m.name())}, {"text", server::Log::text(note)}});
  }
}

/// Lets running answers finish for some seconds, or until a second signal; then ends them.
void finish(server::HttpServer& http, server::Api& api, std::atomic<bool>& again, server::Log& log) {
  constexpr int kTenths = 50;
  log.write("stopping", {{"connections", std::to_string(http.n_connections())}});
  bool done = false;
  for (int i = 0; i < kTenths && !done && !again.load(); ++i) done = http.wait(0.1);
  api.cancel();
  if (!done && !http.wait(2)) http.cut();
  log.write("stopped", {});
}

int run(int argc, char** argv) {
  Flags flags;
  const app::CommandLine owner = app::command_line(
      "Serves models over HTTP: OpenAI's interface, Anthropic's messages, and a page to chat at /.\n"
      "Routes and examples: docs/server.md",
      kName);
  CLI::App& cli = *owner;
  add_flags(cli, flags);
  flags.serving.engine.add_to(
      cli, (app::EngineFlags::kAll & ~app::EngineFlags::kModel) | app::EngineFlags::kDraft);
  app::add_chat_template(cli, flags.serving.chat_template);
  app::parse(cli, argc, argv);
  if (!flags.key_file.empty()) read_keys(flags.key_file, flags.api.keys);
  if (std::find(flags.api.keys.begin(), flags.api.keys.end(), "") != flags.api.keys.end()) {
    throw Error(ErrorCode::kInvalidArgument, "--api-key: a key must not be empty");
  }
  std::vector<server::ModelFile> files = model_files(flags.models);
  if (files.size() > 1 && !flags.serving.engine.adapters.empty()) {
    throw Error(ErrorCode::kInvalidArgument,
                "--lora: an adapter belongs to one model, and there are several");
  }

  std::signal(SIGPIPE, SIG_IGN);  // the write reports a disconnected client
  std::atomic<bool> stop{false};
  const app::InterruptGuard interrupt(stop);
  server::Log log(flags.log);
  server::ModelPool pool(std::move(files), flags.serving,
                         [&log](const server::ServedModel& m) { tell_of_model(log, m); });
  server::Api api(pool, log, flags.api);
  server::HttpServer http(api, {});
  api.count_connections([&http] { return http.n_connections(); });
  http.bind(flags.host, flags.port);
  pool.check();
  app::write_stdout("listening on " + http.url() + "\n");
  app::flush_stdout();
  http.run(stop);
  stop = false;
  api.drain();
  finish(http, api, stop, log);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return gemma::app::run_program(argc, argv, kName, run);
}
