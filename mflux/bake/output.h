// SPDX-License-Identifier: MIT
// One output on its way from a plan to a committed folder. save() drives one of them through a pass
// over the model, save_job() several.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "mflux/bake/output_folder.h"
#include "mflux/bake/pass.h"
#include "mflux/bake/receipt.h"
#include "mflux/bake/shard_files.h"
#include "mflux/events.h"
#include "mflux/lora/adapter.h"

namespace mflux {

class Bake {
 public:
  // Checks the output folder; creates nothing. `model` must outlive the bake, and so must the
  // LoRAs that the plan points into. events.stop must be set.
  Bake(
      const Checkpoint& model,
      std::shared_ptr<const lora::Loaded> loras,
      Plan plan,
      const SaveOptions& options,
      const SaveEvents& events);

  const Plan& plan() const { return plan_; }
  OutputFolder& folder() { return output_; }
  // Shard `index` will be the same file as that of `other`, which is not computed again.
  void share_shard(size_t index, Bake& other) { shared_[index] = &other; }
  uint64_t bytes_to_write() const;

  void begin();              // creates the folder, says what is going to happen
  PassOutput pass_output();  // valid until end_pass()
  void expect_bytes(uint64_t source_bytes) { expected_bytes_ = source_bytes; }  // of the pass
  void end_pass(const PassResult& result);  // its shards are in place
  // After a pass that failed: if a shard that could not be finished was the reason, throws that.
  void rethrow_failure();
  void take_shared_shards();  // of bakes whose stream has ended
  void measure();             // what of each LoRA survived; throws if too little did
  void publish();             // receipt, indexes; the folder is complete
  SaveReport finish();        // drops the journal
  const std::string& fingerprint() const { return fingerprint_; }

 private:
  void log(std::string_view line) const;
  void headline(std::string_view line) const;
  void warn(std::string line);
  bool finished(const PlannedShard& shard) const;
  void announce_shard(size_t index);
  void log_merged(const PlannedTensor& tensor, const BakeSums& sums);
  void judge(const std::string& file, const LoraRecord& record);  // what of it survived
  void record_inputs(const PassResult& result);
  void copy_files();
  void add_sha256();
  void write_receipt();
  std::vector<std::pair<std::string, std::string>> indexes() const;
  void announce_created(const PlannedComponent& component) const;

  const Checkpoint& model_;
  std::shared_ptr<const lora::Loaded> loras_;
  Plan plan_;
  SaveOptions options_;
  SaveEvents events_;
  std::string fingerprint_;
  uint64_t expected_bytes_ = 0;
  OutputFolder output_;
  std::map<size_t, Bake*> shared_ = {};  // by shard
  PassOptions pass_options_ = {};
  std::unique_ptr<ShardFiles> files_ = {};  // during the stream
  std::set<std::string> announced_ = {};
  std::map<std::string, BakeSums> sums_ = {};
  std::vector<std::filesystem::path> input_files_ = {};  // parallel to the receipt's inputs
  SaveReport report_ = {};
};

// Two saves with the same fingerprint write the same bytes, as far as can be told without reading
// the inputs.
std::string fingerprint_of(const Checkpoint& model, const lora::Loaded& loras, const Plan& plan);

// Everything from begin() to publish(), with one pass over the model for all of them. The same
// errors as of save().
void bake_all(const Checkpoint& model, const std::vector<std::unique_ptr<Bake>>& bakes);

}  // namespace mflux
