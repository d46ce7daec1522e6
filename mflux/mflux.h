// SPDX-License-Identifier: MIT
// Everything that is public of the library mflux::mflux; examples/save.cpp shows its use. Of
// mflux::generate it is mflux/generate.h.
#pragma once

#include "mflux/bake/prepare.h"           // what a save will write
#include "mflux/base/error.h"             // the one exception
#include "mflux/checkpoint/checkpoint.h"  // what a model on disk is
#include "mflux/compare.h"                // two models, tensor by tensor
#include "mflux/convert_lora.h"           // a LoRA in another dialect
#include "mflux/events.h"                 // what long work tells
#include "mflux/image/png.h"              // pictures into files
#include "mflux/inspect.h"                // what a folder, a file or a LoRA is
#include "mflux/job.h"                    // several outputs from one pass
#include "mflux/options.h"                // what can be asked of a save
#include "mflux/report.h"                 // a page about a saved folder
#include "mflux/save.h"                   // bake, quantize, write
#include "mflux/verify.h"                 // prove it
#include "mflux/version.h"
