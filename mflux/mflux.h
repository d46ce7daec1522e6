// SPDX-License-Identifier: MIT
// What a save, its proof and its report take; examples/save.cpp shows its use. For the rest:
// mflux/job.h, mflux/convert_lora.h, and of the library mflux_generate mflux/generate.h.
#pragma once

#include "mflux/bake/plan.h"              // what a save will write
#include "mflux/base/error.h"             // the one exception
#include "mflux/checkpoint/checkpoint.h"  // what a model on disk is
#include "mflux/compare.h"                // two models, tensor by tensor
#include "mflux/inspect.h"                // what a folder, a file or a LoRA is
#include "mflux/options.h"                // what can be asked of a save
#include "mflux/report.h"                 // a page about a saved folder
#include "mflux/save.h"                   // bake, quantize, write
#include "mflux/verify.h"                 // prove it
#include "mflux/version.h"
