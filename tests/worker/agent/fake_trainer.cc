// Takes the place of wavefield-trainer: what it does stands in the labels of its job's spec.
//
//   run --task FILE …      "behaviour" is one of
//     finish               "steps" steps, then finished, exit code 0
//     wait                 one step; then until stop (finished, exit code 0) or abort (exit code 7)
//     print                prints "lines" lines, "pause_us" after each, and ends as "end" says:
//                          "finish" (exit code 0), "abort" (by that signal, in the middle of a
//                          line), "wait" (as above)
//     fail                 prints 30 lines, says why it failed, exit code 3
//     malformed            breaks the protocol, then sleeps
//     deaf                 hears nothing, not even SIGTERM
//     deaf with child      the same, and has a child that is as deaf; tells its pid as a warning
//     rendezvous           sets "rank/{rank}", waits for "rank/{other}" and tells its value as a
//                          warning
//   rate --threads N       a fixed rate

#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

namespace {

using Json = nlohmann::json;

constexpr int kChannel = 3;

void SendText(const std::string& text) {
  for (size_t sent = 0; sent < text.size();) {
    const ssize_t put = send(kChannel, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (put <= 0) std::exit(9);
    sent += static_cast<size_t>(put);
  }
}

void Send(const Json& message) { SendText(message.dump() + "\n"); }
void SendEvent(const Json& event) { Send({{"event", event}}); }
void SendStep(int64_t step) {
  SendEvent(
      {{"step", {{"step", std::to_string(step)}, {"loss", step == 1 ? Json("NaN") : Json(2.5)}}}});
}

Json Receive() {
  static std::string buffer;
  size_t newline;
  while ((newline = buffer.find('\n')) == std::string::npos) {
    char bytes[4096];
    const ssize_t got = read(kChannel, bytes, sizeof(bytes));
    if (got <= 0) std::exit(9);
    buffer.append(bytes, static_cast<size_t>(got));
  }
  Json message = Json::parse(buffer.substr(0, newline));
  buffer.erase(0, newline + 1);
  return message;
}

int Finish(int64_t steps) {
  SendEvent({{"training_started", {{"first_step", "1"}}}});
  for (int64_t step = 1; step <= steps; ++step) SendStep(step);
  SendEvent({{"finished", {{"step", std::to_string(steps)}}}});
  return 0;
}

int AwaitTheEnd() {
  while (true) {
    const Json message = Receive();
    if (message.contains("stop")) {
      SendEvent({{"finished", {{"step", "1"}, {"stopped", true}}}});
      return 0;
    }
    if (message.contains("abort")) return 7;
  }
}

int Wait() {
  SendEvent({{"training_started", {{"first_step", "1"}}}});
  SendStep(1);
  return AwaitTheEnd();
}

int Print(const Json& labels, int rank) {
  const rlimit no_core{};
  setrlimit(RLIMIT_CORE, &no_core);
  SendEvent({{"training_started", {{"first_step", "1"}}}});
  const int lines = std::stoi(labels.at("lines").get<std::string>());
  const int pause = std::stoi(labels.value("pause_us", "0"));
  for (int line = 1; line <= lines; ++line) {
    std::printf("rank %d line %d\n", rank, line);
    std::fflush(stdout);
    if (pause > 0) usleep(static_cast<useconds_t>(pause));
  }
  const std::string end = labels.at("end");
  if (end == "abort") {
    std::printf("last wor");
    std::fflush(stdout);
    std::abort();
  }
  if (end == "wait") return AwaitTheEnd();
  SendEvent({{"finished", {{"step", "1"}}}});
  return 0;
}

int Fail() {
  for (int line = 1; line <= 30; ++line) std::printf("line %d\n", line);
  std::fflush(stdout);
  std::fprintf(stderr, "bad bytes \xff\xfe");
  SendEvent({{"failure",
              {{"code", 9}, {"message", "it was told to"}, {"phase", "resume"}, {"step", 5}}}});
  return 3;
}

int Deaf(bool with_child) {
  signal(SIGTERM, SIG_IGN);
  const pid_t child = with_child ? fork() : getpid();
  if (child > 0) SendEvent({{"warning", "child " + std::to_string(child)}});
  while (true) pause();
}

int Rendezvous(const Json& train) {
  const int rank = train.at("rank");
  Send({{"rendezvous_set",
         {{"id", 1},
          {"key", "rank/" + std::to_string(rank)},
          {"value", rank == 0 ? "AAEC" : "BAUG"}}}});
  Send({{"rendezvous_wait",
         {{"id", 2}, {"key", "rank/" + std::to_string(1 - rank)}, {"timeout_seconds", 8}}}});
  for (int replies = 0; replies < 2; ++replies) {
    const Json reply = Receive().at("rendezvous_reply");
    if (reply.at("error") != "") return 4;
    if (reply.at("id") == 2) SendEvent({{"warning", reply.at("value")}});
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "";
  if (command == "rate") {
    std::puts(R"({"matmul_rate": 1.5e11})");
    return 0;
  }
  if (command != "run" || argc < 4 || std::string(argv[2]) != "--task") return 2;
  std::ifstream file(argv[3]);
  const Json train = Json::parse(file).at("train");
  const Json labels = train.at("spec").at("labels");
  const std::string behaviour = labels.at("behaviour");
  if (behaviour == "finish") return Finish(std::stoll(labels.at("steps").get<std::string>()));
  if (behaviour == "wait") return Wait();
  if (behaviour == "print") return Print(labels, train.at("rank"));
  if (behaviour == "fail") return Fail();
  if (behaviour == "deaf") return Deaf(false);
  if (behaviour == "deaf with child") return Deaf(true);
  if (behaviour == "rendezvous") return Rendezvous(train);
  if (behaviour == "malformed") {
    SendText("{\"event\": oops\n");
    while (true) pause();
  }
  return 2;
}
