// Runs one fake task in the folder given, prints its pid, and waits: an owner to be killed.

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "tests/worker/agent/fake_tasks.h"
#include "worker/agent/task_runner.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  spdlog::set_level(spdlog::level::off);
  wavefield::TaskRunnerOptions options;
  options.task.trainer_program = wavefield::FakeTrainerProgram();
  options.task.data_dir = argv[1];
  options.task.storage_root = argv[1];
  wavefield::TaskRunnerCallbacks callbacks;
  callbacks.event = [](wavefield::v1::WorkerEvent event) -> int64_t {
    if (event.has_started()) std::printf("%d\n", event.started().pid());
    std::fflush(stdout);
    return 1;
  };
  callbacks.ended = [](const std::string&) {};
  auto runner = wavefield::TaskRunner::Start(options, callbacks);
  if (!runner.ok()) return 1;
  wavefield::v1::AssignmentList list;
  *list.add_assignments() = wavefield::FakeTask(1, 0, argv[2]);
  (*runner)->Reconcile(list);
  while (true) pause();
}
