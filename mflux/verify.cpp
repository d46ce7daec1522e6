// SPDX-License-Identifier: MIT
// Each check is a line of the report; an Error in one makes it fail, and the next still runs. They
// come in the order of what they cost: the receipt, index and headers of every component, whether
// generate could use the model, then every byte of every file for its hash. With a base the save's
// own plan and pass run again, with a sink that reads the stored rows and compares instead of
// writing; what the save had as max_memory is not known, so none is asked for.
#include "mflux/verify.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <limits>
#include <mutex>
#include <set>

#include <fmt/ranges.h>

#include "mflux/bake/inputs.h"
#include "mflux/bake/listed_files.h"
#include "mflux/bake/memory.h"
#include "mflux/bake/pass.h"
#include "mflux/bake/prepare.h"
#include "mflux/bake/receipt_seal.h"
#include "mflux/base/error.h"
#include "mflux/base/hash.h"
#include "mflux/checkpoint/completeness.h"
#include "mflux/hub/hub.h"
#include "mflux/lora/files.h"
#include "mflux/safetensors/file_name.h"

namespace mflux {
namespace fs = std::filesystem;
namespace {

using safetensors::StoredTensor;
using safetensors::TensorFolder;

constexpr size_t kListed = 5;  // differences named in one check

// Printable, and whole where it is an argument of fail() as Shown.
std::string listed(const std::vector<std::string>& items) {
  const auto shown = static_cast<std::ptrdiff_t>(std::min(items.size(), kListed));
  std::string text = format_printable("{}", fmt::join(items.begin(), items.begin() + shown, "; "));
  if (items.size() > kListed) text += fmt::format("; and {} more", items.size() - kListed);
  return text;
}

bool has_suffix_of_lora(std::string_view name) {
  for (const std::string_view part :
       {".lora_", "lora_A", "lora_B", ".lora.", "lokr_", "hada_", ".alpha", ".diff"}) {
    if (name.find(part) != std::string_view::npos) return true;
  }
  return false;
}

// Compares what a second bake would write with what is there.
class CompareSink : public Sink {
 public:
  CompareSink(const Plan& plan, const fs::path& folder) : plan_(plan) {
    for (const PlannedShard& shard : plan.shards) files_.push_back(File::open(folder / shard.file));
  }

  void write(const PlannedPart& part, uint64_t offset, std::span<const std::byte> data) override {
    thread_local std::vector<std::byte> there;
    there.resize(data.size());
    files_[part.shard].read(offset, there);
    if (std::equal(data.begin(), data.end(), there.begin())) return;
    const std::lock_guard lock(mutex_);
    different_.insert(plan_.shards[part.shard].file + ": " + part.name);
  }

  std::vector<std::string> different() const { return {different_.begin(), different_.end()}; }

 private:
  const Plan& plan_;
  std::vector<File> files_;
  std::mutex mutex_;
  std::set<std::string> different_;
};

class Verifier {
 public:
  Verifier(const VerifyOptions& options, const SaveEvents& events)
      : options_(options), events_(events), folder_(options.folder) {}

  VerifyReport run() {
    if (!fs::is_directory(folder_)) fail("{}: no such folder", folder_.string());
    read_receipt();
    for (const std::string& component : components()) check_component(component);
    if (report_.checks.empty() || (!receipt_ && components().empty())) {
      fail(
          "{}: holds neither a receipt (bake.json) nor a component with safetensors",
          folder_.string());
    }
    check("model", [&] { return check_model(); });
    if (receipt_) check_outputs();
    if (options_.base) {
      if (!receipt_) fail("{}: without bake.json the bake cannot be repeated", folder_.string());
      check_base();
    }
    return std::move(report_);
  }

 private:
  void add(std::string name, bool passed, std::string detail) {
    report_.checks.push_back(
        {.name = std::move(name), .passed = passed, .detail = std::move(detail)});
  }

  // Runs `body`; an Error is a failed check.
  void check(const std::string& name, const std::function<std::string()>& body) {
    try {
      add(name, true, body());
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::interrupted) throw;
      add(name, false, error.what());
    }
  }

  void read_receipt() {
    const fs::path path = folder_ / "bake.json";
    if (!fs::exists(path)) {
      add("receipt",
          true,
          "none (bake.json is not there): names, sizes and dtypes are checked, contents are not");
      return;
    }
    const std::string text = read_text(path);
    check("receipt", [&] {
      receipt_ = parse_receipt(text, path.string());
      return fmt::format(
          "{} input file(s), {} LoRA(s), {} output file(s)",
          receipt_->inputs.size(),
          receipt_->loras.size(),
          receipt_->outputs.size());
    });
    if (receipt_) check("receipt's own hash", [&] { return check_seal(text, path); });
  }

  std::string check_seal(std::string_view text, const fs::path& path) const {
    if (!receipt_->is_sealed) {
      return "this receipt, of an older version, has none: a change to it would go unnoticed";
    }
    if (const std::string problem = seal_problem(text); !problem.empty()) {
      fail("{}: {}", path.string(), problem);
    }
    return "as the receipt says";
  }

  std::vector<std::string> components() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      if (!entry.is_directory() || entry.path().filename().string().starts_with('.')) continue;
      for (const auto& file : fs::directory_iterator(entry.path())) {
        if (safetensors::parse_file_name(file.path().filename().string())) {
          names.insert(entry.path().filename().string());
        }
      }
    }
    if (receipt_) {
      for (const FileRecord& record : receipt_->outputs) {
        const fs::path file(record.file);
        if (file.extension() == ".safetensors" && file.has_parent_path()) {
          names.insert(file.parent_path().string());
        }
      }
    }
    return {names.begin(), names.end()};
  }

  void check_component(const std::string& name) {
    std::optional<TensorFolder> folder;
    check(name + ": index and headers", [&] {
      folder = safetensors::open_folder(folder_ / name);
      if (folder->index_name.empty()) {
        fail(
            "{}: no index (model.safetensors.index.json): an unfinished save",
            (folder_ / name).string());
      }
      return fmt::format("{} tensors in {} shard(s)", folder->tensors.size(), folder->files.size());
    });
    if (!folder || folder->index_name.empty()) return;
    check(name + ": total size", [&] { return check_total_size(*folder); });
    check(name + ": quantization level", [&] { return check_level(*folder); });
    check(name + ": no LoRA leftovers", [&]() -> std::string {
      std::vector<std::string> left;
      for (const StoredTensor& tensor : folder->tensors) {
        if (has_suffix_of_lora(tensor.info.name)) left.push_back(tensor.info.name);
      }
      if (!left.empty()) fail("{}: holds {}", (folder_ / name).string(), Shown{listed(left)});
      return "none";
    });
  }

  // Where the whole model is: --layout comfyui writes one file.
  fs::path model_path() const {
    if (!receipt_ || !components().empty()) return folder_;
    for (const FileRecord& record : receipt_->outputs) {
      const fs::path file(record.file);
      if (file.extension() == ".safetensors" && !file.has_parent_path()) return folder_ / file;
    }
    return folder_;
  }

  // That generate() can use it, or what it is if it was never meant to.
  std::string check_model() {
    const std::optional<std::string> base_model =
        receipt_ ? receipt_->options.base_model : std::nullopt;
    const Checkpoint model = open_checkpoint(model_path(), base_model);
    report_.absent = check_complete(model);
    check_usable(model, report_.absent);
    const std::string_view title = models::family_title(*model.family);
    if (report_.absent.empty()) return fmt::format("a whole {}", title);
    return fmt::format(
        "{}, without {}: a picture needs these too", title, fmt::join(report_.absent, ", "));
  }

  static std::string check_total_size(const TensorFolder& folder) {
    uint64_t bytes = 0;
    for (const StoredTensor& tensor : folder.tensors) bytes += tensor.info.bytes;
    const auto stated = safetensors::index_total_size(folder.path / folder.index_name);
    if (!stated) return fmt::format("{} bytes (the index does not say)", bytes);
    if (*stated != bytes) {
      fail(
          "{}: total_size is {}, the tensors have {} bytes",
          (folder.path / folder.index_name).string(),
          *stated,
          bytes);
    }
    return fmt::format("{} bytes", bytes);
  }

  // S8: what the metadata says is what the bytes are.
  static std::string check_level(const TensorFolder& folder) {
    size_t packed = 0;
    size_t scales = 0;
    for (const StoredTensor& tensor : folder.tensors) {
      packed +=
          tensor.info.spec.dtype == Dtype::u32 && tensor.info.name.ends_with(".weight") ? 1U : 0U;
      scales += tensor.info.name.ends_with(".scales") ? 1U : 0U;
    }
    const std::string_view level = folder.metadata("quantization_level");
    const bool at_load = folder.metadata("mflux_cpp_quantized") == "at load";
    const bool says_packed = !level.empty() && level != "None" && !at_load;
    // Python mflux stamps the requested level on every component, quantized or not.
    const bool ours = !folder.metadata("mflux_cpp_version").empty();
    if (packed != scales || (packed != 0 && !says_packed) || (ours && says_packed && packed == 0)) {
      fail(
          "{}: the metadata says quantization_level '{}'{}, the files hold {} packed tensors and "
          "{} scales",
          folder.path.string(),
          level,
          at_load ? " at load" : "",
          packed,
          scales);
    }
    return fmt::format(
        "{}{}, {} packed tensors",
        level.empty() ? "not stated" : level,
        at_load ? " at load" : "",
        packed);
  }

  void check_outputs() {
    check("files and hashes", [&] {
      std::vector<std::string> wrong;
      uint64_t bytes = 0;
      for (const FileRecord& record : receipt_->outputs) {
        if (const std::string problem = file_problem(record); !problem.empty())
          wrong.push_back(problem);
        bytes += record.bytes;
        if (events_.stop != nullptr && *events_.stop) fail(ErrorKind::interrupted, "interrupted");
      }
      if (!wrong.empty()) fail("{}", Shown{listed(wrong)});
      return fmt::format(
          "{} files, {:.2f} GB, as the receipt says",
          receipt_->outputs.size(),
          static_cast<double>(bytes) / 1e9);
    });
    check("nothing else", [&]() -> std::string {
      if (const auto missing = unlisted_components(*receipt_); !missing.empty()) {
        fail("the receipt does not list all files of its components: {}", Shown{listed(missing)});
      }
      if (const auto files = unlisted_files(folder_, receipt_->outputs); !files.empty()) {
        fail("the receipt does not list {}, which programs may load", Shown{listed(files)});
      }
      return "all files that programs load are listed";
    });
    check("size", [&] {
      const auto weights = [](const std::vector<FileRecord>& files) {
        uint64_t sum = 0;
        for (const FileRecord& file : files) {
          if (file.file.ends_with(".safetensors")) sum += file.bytes;
        }
        return sum;
      };
      const double in = static_cast<double>(weights(receipt_->inputs));
      const double out = static_cast<double>(weights(receipt_->outputs));
      return fmt::format(
          "{:.2f} GB, {:.0f} % of the source's {:.2f} GB",
          out / 1e9,
          in == 0 ? 0 : 100 * out / in,
          in / 1e9);
    });
  }

  std::string file_problem(const FileRecord& record) const {
    const fs::path path = folder_ / record.file;
    std::error_code error;
    if (!fs::is_regular_file(path, error)) return record.file + " is missing";
    const uint64_t size = fs::file_size(path);
    if (size != record.bytes) {
      return fmt::format("{} has {} bytes, the receipt says {}", record.file, size, record.bytes);
    }
    const std::string hash = hash_file(path);
    if (hash != record.xxh3_128) {
      return fmt::format(
          "{} has XXH3-128 {}, the receipt says {}", record.file, hash, record.xxh3_128);
    }
    return "";
  }

  void check_base() {
    SaveOptions options = receipt_->options;
    options.model = *options_.base;
    options.loras = options_.loras;
    options.max_memory = std::numeric_limits<uint64_t>::max();  // what the save had is not known
    check("LoRAs", [&] { return check_loras(); });
    check("second bake", [&] {
      const Checkpoint model =
          open_checkpoint(hub::resolve_model(options.model), options.base_model);
      lora::Loaded loras = load_loras(model, options);
      const Plan plan = settle_plan(model, loras, options, events_);
      for (const PlannedShard& shard : plan.shards) check_header(shard);
      CompareSink sink(plan, folder_);
      PassOptions pass_options{.stop = events_.stop};
      pass_options.max_memory += whole_peak(plan.whole_groups);
      SaveProgress progress{.bytes_total = bytes_to_read(model, plan, pass_options)};
      pass_options.on_progress = [&](uint64_t bytes) {
        progress.bytes_done = bytes;
        if (events_.progress) events_.progress(progress);
      };
      const PassResult result = run_pass(model, plan, pass_options, sink);
      check_inputs_unchanged(model, loras);
      check_unchanged(lora_files_, lora_stamps_);
      check_inputs(result);
      const std::vector<std::string> different = sink.different();
      if (!different.empty())
        fail("{} tensor(s) differ: {}", different.size(), Shown{listed(different)});
      return fmt::format("{} tensors equal bit for bit", plan.tensors.size());
    });
  }

  void check_header(const PlannedShard& planned) const {
    const fs::path path = folder_ / planned.file;
    const File file = File::open(path);
    std::string there(std::min<uint64_t>(planned.header.size(), file.size()), '\0');
    file.read(0, std::as_writable_bytes(std::span(there)));
    if (there != planned.header || file.size() != planned.bytes) {
      fail("{}: tensors, metadata or their order differ from a bake of this model", path.string());
    }
  }

  void check_inputs(const PassResult& result) const {
    std::vector<std::string> different;
    for (const FileRecord& record : receipt_->inputs) {
      for (const auto& [file, hash] : result.input_hashes) {
        if (file == record.file && hash != record.xxh3_128) different.push_back(file);
      }
    }
    if (!different.empty()) {
      fail(
          "not the model that was baked: {} (its contents are not those the receipt lists)",
          Shown{listed(different)});
    }
  }

  void check_lora_files(const fs::path& path, const LoraRecord& record) {
    std::vector<FileRecord> baked = {record.file};
    baked.insert(baked.end(), record.more_files.begin(), record.more_files.end());
    const std::vector<fs::path> files = lora::lora_files(path);
    if (files.size() != baked.size()) {
      fail("{}: {} file(s), the receipt lists {}", path.string(), files.size(), baked.size());
    }
    for (size_t i = 0; i < files.size(); ++i) {
      lora_files_.push_back(files[i]);
      lora_stamps_.push_back(stamp_of(files[i]));
      if (hash_file(files[i]) == baked[i].xxh3_128) continue;
      fail("{}: not the file that was baked ({})", files[i].string(), baked[i].file);
    }
  }

  std::string check_loras() {
    if (receipt_->loras.size() != options_.loras.size()) {
      fail("{} given, the receipt lists {}", options_.loras.size(), receipt_->loras.size());
    }
    for (size_t i = 0; i < options_.loras.size(); ++i) {
      const LoraRecord& record = receipt_->loras[i];
      const fs::path path = hub::resolve_lora(options_.loras[i].name);
      check_lora_files(path, record);
      if (options_.loras[i].scale != record.scale) {
        fail(
            "{}: scale {}, the receipt says {}",
            path.string(),
            options_.loras[i].scale,
            record.scale);
      }
      if (options_.loras[i].block_scales != record.block_scales) {
        fail(
            "{}: block scales '{}', the receipt says '{}'",
            path.string(),
            options_.loras[i].block_scales,
            record.block_scales);
      }
    }
    return fmt::format("{} file(s), as the receipt says", receipt_->loras.size());
  }

  VerifyOptions options_;
  SaveEvents events_;
  fs::path folder_;
  std::optional<Receipt> receipt_ = {};
  std::vector<fs::path> lora_files_ = {};  // whose hash was compared
  std::vector<FileStamp> lora_stamps_ = {};
  VerifyReport report_ = {};
};

}  // namespace

bool VerifyReport::passed() const {
  return std::all_of(checks.begin(), checks.end(), [](const Check& check) { return check.passed; });
}

VerifyReport verify(const VerifyOptions& options, const SaveEvents& events) {
  try {
    return Verifier(options, events).run();
  } catch (const fs::filesystem_error& error) {
    fail("{}", error.what());
  }
}

}  // namespace mflux
