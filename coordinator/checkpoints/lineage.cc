#include "coordinator/checkpoints/lineage.h"

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <tuple>
#include <vector>

#include "coordinator/checkpoints/catalogue.h"
#include "coordinator/checkpoints/lineage_node.h"
#include "coordinator/rpc/requests.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

using wavefield::v1::Checkpoint;
using wavefield::v1::LineageNode;

constexpr size_t kMaxNodes = 10'000;

class Family {
 public:
  explicit Family(std::vector<LineageNode> nodes) : nodes_(std::move(nodes)) {
    for (size_t i = 0; i < nodes_.size(); ++i) by_name_[nodes_[i].name()] = i;
    ChainAttempts();
    children_.resize(nodes_.size());
    for (size_t i = 0; i < nodes_.size(); ++i) {
      const auto parent = by_name_.find(nodes_[i].parent());
      if (parent != by_name_.end()) children_[parent->second].push_back(i);
    }
  }

  const std::vector<LineageNode>& nodes() const { return nodes_; }

  // All that are connected with `seeds`, in any direction.
  std::set<size_t> ConnectedWith(const std::vector<size_t>& seeds) const {
    std::set<size_t> connected(seeds.begin(), seeds.end());
    std::deque<size_t> open(seeds.begin(), seeds.end());
    const auto reach = [&](size_t i) {
      if (connected.insert(i).second) open.push_back(i);
    };
    while (!open.empty()) {
      const size_t i = open.front();
      open.pop_front();
      for (const size_t child : children_[i]) reach(child);
      const auto parent = by_name_.find(nodes_[i].parent());
      if (parent != by_name_.end()) reach(parent->second);
    }
    return connected;
  }

  // Those of `chosen`, parents before their children. A parent that is not among them is left out.
  wavefield::v1::Lineage InOrder(const std::set<size_t>& chosen) const {
    wavefield::v1::Lineage lineage;
    std::vector<size_t> open;
    for (const size_t i : chosen) {
      const auto parent = by_name_.find(nodes_[i].parent());
      if (parent == by_name_.end() || !chosen.contains(parent->second)) open.push_back(i);
    }
    std::reverse(open.begin(), open.end());
    std::set<size_t> roots(open.begin(), open.end());
    while (!open.empty()) {
      const size_t i = open.back();
      open.pop_back();
      LineageNode& node = *lineage.add_nodes() = nodes_[i];
      if (roots.contains(i)) {
        node.clear_parent();
        node.clear_fork();
      }
      for (size_t c = children_[i].size(); c-- > 0;) {
        if (chosen.contains(children_[i][c])) open.push_back(children_[i][c]);
      }
    }
    return lineage;
  }

 private:
  // Within an attempt the parent is the checkpoint before.
  void ChainAttempts() {
    std::map<std::tuple<std::string, int32_t>, std::vector<size_t>> attempts;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      attempts[{JobOfCheckpoint(nodes_[i].name()), nodes_[i].attempt()}].push_back(i);
    }
    for (auto& [attempt, members] : attempts) {
      std::sort(members.begin(), members.end(),
                [&](size_t a, size_t b) { return nodes_[a].step() < nodes_[b].step(); });
      for (size_t m = 1; m < members.size(); ++m) {
        LineageNode& node = nodes_[members[m]];
        node.set_parent(nodes_[members[m - 1]].name());
        node.set_fork(false);
      }
    }
  }

  std::vector<LineageNode> nodes_;
  std::map<std::string, size_t> by_name_;
  std::vector<std::vector<size_t>> children_;
};

bool Older(const LineageNode& a, const LineageNode& b) {
  const auto key = [](const LineageNode& node) {
    return std::make_tuple(node.create_time().seconds(), node.create_time().nanos(), node.step(),
                           node.name());
  };
  return key(a) < key(b);
}

}  // namespace

absl::StatusOr<wavefield::v1::Lineage> LineageOf(StoreReader& reader, const std::string& name) {
  std::string job;
  std::string checkpoint;
  if (name.find("/checkpoints/") != std::string::npos) {
    WF_ASSIGN_OR_RETURN(const Checkpoint resolved, ResolveCheckpoint(reader, name));
    checkpoint = resolved.name();
  } else {
    WF_ASSIGN_OR_RETURN(job, IdOf("jobs", name));
    WF_RETURN_IF_ERROR(reader.GetJob(job).status());
  }
  WF_ASSIGN_OR_RETURN(std::vector<LineageNode> nodes, reader.RemovedCheckpoints());
  WF_RETURN_IF_ERROR(VisitCheckpoints(reader, "", INT64_MAX, [&](int64_t, const Checkpoint& c) {
    nodes.push_back(LineageNodeOf(c));
    return true;
  }));
  std::sort(nodes.begin(), nodes.end(), Older);
  const Family family(std::move(nodes));
  std::vector<size_t> seeds;
  for (size_t i = 0; i < family.nodes().size(); ++i) {
    const std::string& of = family.nodes()[i].name();
    if (of == checkpoint || (!job.empty() && JobOfCheckpoint(of) == job)) seeds.push_back(i);
  }
  std::set<size_t> chosen = family.ConnectedWith(seeds);
  // The newest are shown where there are too many: indices grow with time.
  while (chosen.size() > kMaxNodes) chosen.erase(chosen.begin());
  return family.InOrder(chosen);
}

}  // namespace wavefield::coordinator
