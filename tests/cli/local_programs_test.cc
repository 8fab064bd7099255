// The commands that start the cluster's other programs, which are shell scripts here; and
// evaluation and generation on the cluster.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/time/clock.h"
#include "tests/cli/command_runner.h"
#include "tests/cli/fake_cluster.h"
#include "tests/cli/terminal_program.h"

namespace wavefield {
namespace {

using nlohmann::json;
using testing::HasSubstr;
namespace fs = std::filesystem;

// A folder with the real `wavefield` and scripts in place of its sisters.
class LocalProgramsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    programs_ = new TemporaryDirectory();
    for (const char* name : {"wavefield", "wavefield-launcher"}) {
      fs::copy_file(ProgramDirectory() / name, programs_->path() / name);
    }
  }
  static void TearDownTestSuite() { delete programs_; }

  void Script(const std::string& name, const std::string& body) {
    const std::string path = programs_->Write(name, "#!/bin/bash\n" + body);
    fs::permissions(path, fs::perms::owner_all);
  }
  CommandResult Run(std::vector<std::string> arguments, const std::string& input = "") {
    arguments.insert(arguments.begin(), (programs_->path() / "wavefield").string());
    return RunCommand(arguments, {"WAVEFIELD_ADDRESS=" + cluster_.address()}, input);
  }

  static TemporaryDirectory* programs_;
  const TemporaryDirectory directory_;
  FakeCluster cluster_;
};
TemporaryDirectory* LocalProgramsTest::programs_ = nullptr;

class UpTest : public LocalProgramsTest {
 protected:
  // `wavefield up` that runs beside the test.
  Subprocess Start(const std::vector<std::string>& more = {}) {
    const std::string out = directory_.Write("out", ""), err = directory_.Write("err", "");
    const FileDescriptor out_fd(open(out.c_str(), O_WRONLY | O_CLOEXEC));
    const FileDescriptor err_fd(open(err.c_str(), O_WRONLY | O_CLOEXEC));
    ProcessOptions options;
    options.command = {(programs_->path() / "wavefield").string(), "up", "--data-dir",
                       data_.string()};
    options.command.insert(options.command.end(), more.begin(), more.end());
    options.environment = {"WAVEFIELD_ADDRESS=not-for-the-daemons:1", "EVENTS=" + events_.string()};
    options.stdout_fd = out_fd.get();
    options.stderr_fd = err_fd.get();
    auto process = Subprocess::Start(options);
    EXPECT_TRUE(process.ok()) << process.status();
    return *std::move(process);
  }
  // A daemon that is ready at once, notes its start and its orderly end, and leaves a child behind.
  void Daemon(const std::string& name, const std::string& ready) {
    Script(name, "echo \"" + name +
                     " $* [$WAVEFIELD_ADDRESS]\" >> $EVENTS\n"
                     "trap 'echo " +
                     name +
                     " stops >> $EVENTS; exit 0' TERM\n"
                     "sleep 1000 & echo $! >> $EVENTS.pids\n"
                     "echo starting; echo ready " +
                     ready + "\nwhile true; do sleep 0.01; done\n");
  }
  bool WaitFor(const std::function<bool()>& condition) {
    for (int i = 0; i < 1000; ++i) {
      if (condition()) return true;
      absl::SleepFor(absl::Milliseconds(10));
    }
    return false;
  }
  std::string Out() { return ReadText(directory_.path() / "out"); }
  std::string Err() { return ReadText(directory_.path() / "err"); }
  std::string Events() { return ReadText(events_); }
  int LivingChildren() {
    std::ifstream pids(events_.string() + ".pids");
    int living = 0;
    for (pid_t pid; pids >> pid;) living += kill(pid, 0) == 0;
    return living;
  }

  const fs::path data_ = directory_.path() / "data";
  const fs::path events_ = directory_.path() / "events";
};

TEST_F(UpTest, StartsBothSaysReadyAndStopsTheWorkerFirst) {
  Daemon("wavefield-coordinator", "127.0.0.1:4242");
  Daemon("wavefield-worker", "host");
  Subprocess up =
      Start({"--slots", "3", "--port", "0", "--http-port", "7", "--log-format", "json"});
  ASSERT_TRUE(WaitFor([&] { return Out() == "ready 127.0.0.1:4242\n"; })) << Out() << Err();
  const std::string data = data_.string();
  EXPECT_THAT(Events(), HasSubstr("wavefield-coordinator --data-dir " + data +
                                  "/coordinator --storage-root " + data +
                                  "/storage --listen 127.0.0.1:0 --http-listen 127.0.0.1:7 "
                                  "--log-format json --log-level info"));
  EXPECT_THAT(Events(), HasSubstr("wavefield-worker --coordinator 127.0.0.1:4242 --data-dir " +
                                  data + "/worker --storage-root " + data +
                                  "/storage --slots 3 --threads-per-slot 1 --gpus all "
                                  "--log-format json --log-level info"));
  EXPECT_THAT(Events(), HasSubstr("[]\n")) << "the daemons get the user's WAVEFIELD_ADDRESS";
  up.Signal(SIGINT);
  const auto exit = up.Wait(absl::Seconds(10));
  ASSERT_TRUE(exit.has_value());
  EXPECT_EQ(exit->code, 0);
  EXPECT_THAT(Events(), HasSubstr("wavefield-worker stops\nwavefield-coordinator stops\n"));
  EXPECT_TRUE(WaitFor([&] { return LivingChildren() == 0; })) << "processes are left behind";
}

TEST_F(UpTest, ShowsWhyTheCoordinatorDidNotStart) {
  Script("wavefield-coordinator",
         "echo 'cannot listen on 127.0.0.1:7070: address in use' >&2; exit 1");
  Subprocess up = Start();
  const auto exit = up.Wait(absl::Seconds(10));
  ASSERT_TRUE(exit.has_value());
  EXPECT_EQ(exit->code, 1);
  EXPECT_EQ(Out(), "");
  EXPECT_THAT(Err(), HasSubstr("cannot listen on 127.0.0.1:7070: address in use"));
  EXPECT_THAT(Err(), HasSubstr("exit code 1"));
}

TEST_F(UpTest, StopsTheOtherWhenOneDies) {
  Daemon("wavefield-coordinator", "127.0.0.1:4242");
  Script("wavefield-worker", "echo ready host; sleep 0.2; echo 'the disk burns' >&2; kill -9 $$");
  Subprocess up = Start();
  const auto exit = up.Wait(absl::Seconds(10));
  ASSERT_TRUE(exit.has_value());
  EXPECT_EQ(exit->code, 1);
  EXPECT_THAT(Out(), HasSubstr("ready 127.0.0.1:4242"));
  EXPECT_THAT(Err(), HasSubstr("wavefield-worker ended with signal 9"));
  EXPECT_THAT(Err(), HasSubstr("the disk burns"));
  EXPECT_THAT(Events(), HasSubstr("wavefield-coordinator stops"));
}

TEST_F(UpTest, ASecondOneOnTheSameDirectoryIsRefused) {
  Daemon("wavefield-coordinator", "127.0.0.1:4242");
  Daemon("wavefield-worker", "host");
  Subprocess up = Start();
  ASSERT_TRUE(WaitFor([&] { return !Out().empty(); })) << Err();
  const CommandResult second = Run({"up", "--data-dir", data_.string()});
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_THAT(second.err, HasSubstr("another 'wavefield up' runs on " + data_.string()));
  up.Signal(SIGTERM);
  ASSERT_TRUE(up.Wait(absl::Seconds(10)).has_value());
}

TEST_F(UpTest, NothingSurvivesAKilledUp) {
  Daemon("wavefield-coordinator", "127.0.0.1:4242");
  Script("wavefield-worker", "echo $$ >> $EVENTS.pids; echo ready host; exec sleep 1000");
  Subprocess up = Start();
  ASSERT_TRUE(WaitFor([&] { return !Out().empty(); })) << Err();
  std::ifstream pids(events_.string() + ".pids");
  pid_t coordinators_child = 0, worker = 0;
  pids >> coordinators_child >> worker;
  ASSERT_GT(worker, 0);
  kill(up.pid(), SIGKILL);
  EXPECT_TRUE(WaitFor([&] { return kill(worker, 0) != 0; }));
  kill(coordinators_child, SIGKILL);
}

TEST_F(LocalProgramsTest, EvaluateRunsADirectoryOnThisHost) {
  Script(
      "wavefield-trainer",
      "echo \"$*\" > " + (directory_.path() / "arguments").string() +
          R"(; echo '{"evaluation": {"loss": 4.0, "tokens": "10"}}'; echo '{"evaluation": {"loss": 3.5, "perplexity": 33.1, "bits_per_byte": 1.25, "accuracy": 0.5, "tokens": "65536"}, "done": true}')");
  const std::string checkpoint = (directory_.path() / "checkpoint").string();
  const std::string dataset = (directory_.path() / "dataset").string();
  fs::create_directories(checkpoint);
  fs::create_directories(dataset);
  cluster_.get_dataset = [&](const v1::GetDatasetRequest& request, v1::Dataset& answer) {
    answer.set_path(request.name() == "datasets/here" ? dataset : "/nowhere/at/all");
    return grpc::Status::OK;
  };
  for (const std::string& name : {dataset, std::string("here")}) {
    const CommandResult result =
        Run({"evaluate", checkpoint, "--dataset", name, "--max-tokens", "1000", "--json"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const json evaluation = json::parse(result.out);
    EXPECT_EQ(evaluation["loss"], 3.5);
    EXPECT_EQ(evaluation["perplexity"], 33.1);
    EXPECT_EQ(evaluation["bits_per_byte"], 1.25);
    EXPECT_EQ(evaluation["accuracy"], 0.5);
    EXPECT_EQ(evaluation["tokens"], "65536");
    EXPECT_EQ(ReadText(directory_.path() / "arguments"),
              "evaluate " + checkpoint + " --dataset " + dataset + " --max-tokens 1000\n");
  }
  const CommandResult elsewhere = Run({"evaluate", checkpoint, "--dataset", "elsewhere"});
  EXPECT_EQ(elsewhere.exit_code, 3);
  EXPECT_THAT(elsewhere.err, HasSubstr("/nowhere/at/all"));
  EXPECT_EQ(Run({"evaluate", checkpoint}).exit_code, 2);
}

TEST_F(LocalProgramsTest, AuditRunsADirectoryOnThisHostAndItsExitCodeIsTheVerdict) {
  const std::string seen = (directory_.path() / "arguments").string();
  const auto trainer = [&](const std::string& report) {
    Script("wavefield-trainer",
           "echo \"$*\" > " + seen + "; echo '{\"causality\": " + report + ", \"done\": true}'");
  };
  const std::string checkpoint = directory_.path().string();
  trainer(R"({"passed": true, "random_ids": true})");
  const CommandResult passed = Run({"audit", "causality", checkpoint});
  EXPECT_EQ(passed.exit_code, 0) << passed.err;
  EXPECT_THAT(passed.err, HasSubstr("No --dataset is given"));
  EXPECT_THAT(passed.out, HasSubstr("tokens drawn by chance"));
  EXPECT_EQ(ReadText(seen),
            "audit " + checkpoint + " --windows 4 --sequence-length 0 --changes 8 --seed 1\n");
  trainer(R"({"training_leak": {"difference": "NaN", "changed_token": 1}, "passed": false})");
  const CommandResult failed =
      Run({"audit", "causality", checkpoint, "--dataset", checkpoint, "--windows", "2",
           "--sequence-length", "64", "--changes", "3", "--seed", "9", "--threads", "2"});
  EXPECT_EQ(failed.exit_code, 6) << failed.err;
  EXPECT_THAT(failed.out, HasSubstr("what is not a number"));
  EXPECT_THAT(failed.out, HasSubstr("FAIL: in training"));
  EXPECT_EQ(ReadText(seen),
            "audit " + checkpoint +
                " --windows 2 --sequence-length 64 --changes 3 --seed 9 --dataset " + checkpoint +
                " --threads 2\n");
  Script("wavefield-trainer", "echo 'no checkpoint here' >&2; exit 1");
  EXPECT_EQ(Run({"audit", "causality", checkpoint}).exit_code, 1);
}

TEST_F(LocalProgramsTest, EvaluateTakesOneWindowOfIds) {
  cluster_.evaluate = [](const v1::EvaluateRequest& request,
                         grpc::ServerWriter<v1::InferenceOutput>& writer) {
    EXPECT_EQ(request.checkpoint(), "jobs/first/checkpoints/100");
    v1::InferenceOutput output;
    output.mutable_evaluation()->set_tokens(request.token_ids_size() - 1);
    output.set_done(true);
    writer.Write(output);
    return grpc::Status::OK;
  };
  const std::string ids = directory_.Write("ids.json", "[1, 2, 300]");
  const CommandResult result =
      Run({"evaluate", "first@100", "--dataset", "x", "--token-ids", ids, "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(json::parse(result.out)["tokens"], "2");
  for (const char* bad :
       {"{}", "[1]", "[1, -2]", "[1, 2.5]", "[1, 3000000000]", "nonsense", "[1, \"2\"]"}) {
    const CommandResult refused =
        Run({"evaluate", "first", "--token-ids", directory_.Write("bad.json", bad)});
    EXPECT_EQ(refused.exit_code, 2) << bad;
    EXPECT_THAT(refused.err, HasSubstr("bad.json")) << bad;
  }
}

TEST_F(LocalProgramsTest, ATerminalObeysNothingThatAModelWrites) {
  cluster_.generate = [](const v1::GenerateRequest&,
                         grpc::ServerWriter<v1::InferenceOutput>& writer) {
    v1::InferenceOutput output;
    output.set_text("a\x1b[31m\tb\\ \xC2\x9B ö");
    output.set_done(true);
    writer.Write(output);
    return grpc::Status::OK;
  };
  TerminalProgram terminal(cluster_.address(), {"generate", "first", "--prompt", "x"},
                           TerminalProgram::Streams::kAll);
  EXPECT_EQ(terminal.Finish(), 0);
  EXPECT_THAT(terminal.output(), HasSubstr("a\\x1b[31m"));
  EXPECT_THAT(terminal.output(), HasSubstr("b\\ \\u009b ö"));
  EXPECT_THAT(Run({"generate", "first", "--prompt", "x"}).out, HasSubstr("a\x1b[31m\tb"));
}

TEST_F(LocalProgramsTest, GenerateStreamsFromTheCluster) {
  cluster_.generate = [](const v1::GenerateRequest& request,
                         grpc::ServerWriter<v1::InferenceOutput>& writer) {
    v1::InferenceOutput output;
    output.set_text("[" + request.prompt() + "]");
    writer.Write(output);
    output.set_text(" größer");
    writer.Write(output);
    output.mutable_summary()->set_generated_tokens(request.max_tokens());
    output.mutable_summary()->set_seconds_per_token(0.002);
    output.set_done(true);
    writer.Write(output);
    return grpc::Status::OK;
  };
  const CommandResult people =
      Run({"generate", "first", "--prompt", "-", "--max-tokens", "7"}, "piped\n");
  EXPECT_EQ(people.exit_code, 0) << people.err;
  EXPECT_EQ(people.out, "[piped\n] größer\n");
  EXPECT_THAT(people.err, HasSubstr("7 tokens at 2.00 ms each"));
  const CommandResult script =
      Run({"generate", "first", "--prompt", "x", "--max-tokens", "7", "--json"});
  EXPECT_EQ(json::parse(script.out)["text"], "[x] größer");
  EXPECT_EQ(json::parse(script.out)["summary"]["generated_tokens"], "7");
  EXPECT_EQ(Run({"generate", "first", "--prompt", "\xFF"}).exit_code, 2);
  EXPECT_EQ(Run({"generate", "first", "--prompt", "x", "--max-tokens", "0"}).exit_code, 2);
  EXPECT_EQ(Run({"generate", "first", "--prompt", "x", "--temperature", "nan"}).exit_code, 2);
}

TEST_F(LocalProgramsTest, GenerateHandsAPromptOfAnyLengthToTheTrainer) {
  const std::string seen = (directory_.path() / "seen").string();
  Script(
      "wavefield-trainer",
      "echo \"${@:3}\" > " + seen + "; cat \"$2\" >> " + seen +
          R"(; echo '{"text": "ja"}'; echo '{"summary": {"generated_tokens": "3"}, "done": true}')");
  const std::string prompt(300000, 'p');
  const CommandResult result = Run({"generate", directory_.path().string(), "--prompt",
                                    "@" + directory_.Write("prompt", prompt), "--max-tokens", "3",
                                    "--temperature", "0", "--seed", "5", "--threads", "2"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "ja\n");
  const std::string text = ReadText(seen);
  EXPECT_THAT(text, testing::StartsWith("generate " + directory_.path().string() +
                                        " --max-tokens 3 --temperature 0 --seed 5 --threads 2\n"));
  EXPECT_EQ(json::parse(text.substr(text.find('\n')))["generate"]["prompt"], prompt);
}

TEST_F(LocalProgramsTest, ATrainerThatFailsIsAnError) {
  Script("wavefield-trainer", "echo 'no checkpoint here' >&2; exit 1");
  const CommandResult result = Run({"generate", directory_.path().string(), "--prompt", "x"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("no checkpoint here"));
}

TEST_F(LocalProgramsTest, ModelsAreDescribedWithoutACoordinator) {
  const std::string path = (programs_->path() / "wavefield").string();
  const auto offline = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), path);
    return RunCommand(arguments, {"WAVEFIELD_ADDRESS=127.0.0.1:1"});
  };
  const json described = json::parse(
      offline({"model", "describe", "--preset", "wave-field-3m", "--vocab-size", "4000", "--json"})
          .out);
  EXPECT_EQ(described["config"]["vocab_size"], 4032);
  EXPECT_EQ(described["parameter_count"], 2719752 - 64 * 192);
  EXPECT_GT(described["memory_estimate_bytes"]["total"], 4 * 2719752);
  const CommandResult positional =
      offline({"model", "describe", "wave-field-3m", "--vocab-size", "4000", "--json"});
  EXPECT_EQ(json::parse(positional.out), described) << positional.err;
  const CommandResult misspelt = offline({"model", "describe", "wave-feild-3m"});
  EXPECT_EQ(misspelt.exit_code, 3);
  EXPECT_THAT(misspelt.err, HasSubstr("did you mean 'wave-field-3m'"));
  EXPECT_THAT(offline({"model", "presets"}).out, HasSubstr("wave-field-3m"));
  const CommandResult unknown = offline({"model", "describe", "--preset", "wave-field-3b"});
  EXPECT_EQ(unknown.exit_code, 3);
  EXPECT_THAT(unknown.err, HasSubstr("'wave-field-3m'"));
  const CommandResult invalid =
      offline({"model", "describe", "--preset", "wave-field-3m", "--set", "model.n_heads=5"});
  EXPECT_EQ(invalid.exit_code, 2);
  EXPECT_THAT(invalid.err, HasSubstr("\nmodel.n_heads: "));
  EXPECT_EQ(offline({"model", "describe"}).exit_code, 2);
}

}  // namespace
}  // namespace wavefield
