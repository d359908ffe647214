// Optimize two moving averages on a Stratsweep server: progress, the best result, and what went wrong.
//
// node optimize.js [--server 127.0.0.1:50051] [--strategy sma_cross] [--symbol SPY] [--arrow]
//
// Exit codes are those of the command line: 0 results, 1 connection lost, 2 refused, 3 nothing could
// be ranked, 4 no server or a busy one, 130 cancelled (Ctrl-C).

import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";
import { tableFromIPC } from "apache-arrow";

const TARGET = "sharpe_ratio";

const { values: options } = parseArgs({
  options: {
    server: { type: "string", default: "127.0.0.1:50051" },
    strategy: { type: "string", default: "sma_cross" },
    symbol: { type: "string", default: "SPY" },
    arrow: { type: "boolean", default: false },
  },
});

const folder = (path) => fileURLToPath(new URL(path, import.meta.url));
const definition = loader.loadSync(
  [
    "stratsweep/v1/optimization_service.proto",
    "google/rpc/status.proto",
    "google/rpc/error_details.proto",
  ],
  {
    includeDirs: [folder("../../protos"), folder("../protos")],
    keepCase: true, // the names of the contract
    longs: Number,
    enums: String,
    oneofs: true, // event.kind says which field is set
    defaults: true, // else what is empty, false or 0 is undefined
  },
);
const { OptimizationService } = grpc.loadPackageDefinition(definition).stratsweep.v1;

// Misspelled fields and enum texts are dropped without a word: the started event has the config as
// the server understood it.
const request = {
  config: {
    strategy: options.strategy,
    symbols: [options.symbol],
    parameters: [
      { name: "fast", integer_range: { start: 5, stop: 50, step: 5 } },
      { name: "slow", integer_list: { values: [100, 150, 200] } },
    ],
    constraints: ["fast < slow"],
    optimization_target: TARGET,
  },
  progress_interval: { nanos: 200_000_000 },
  result_format: options.arrow ? "RESULT_FORMAT_ARROW" : "RESULT_FORMAT_ROWS",
};

async function main() {
  const client = new OptimizationService(options.server, grpc.credentials.createInsecure(), {
    "grpc.keepalive_time_ms": 30_000, // a frozen server is noticed; not below 1,000
    "grpc.keepalive_timeout_ms": 10_000,
  });
  const stream = client.Optimize(request);
  let isCancelled = false;
  const cancel = () => {
    isCancelled = true;
    stream.cancel();
  };
  process.once("SIGINT", cancel);
  const parts = [];
  let isStarted = false;
  try {
    for await (const { event } of stream) {
      if (event.kind === "started") {
        const { total_count, config } = event.started;
        console.log(`${total_count} combinations`, JSON.stringify(config.symbols));
        isStarted = true;
      } else if (event.kind === "progress") {
        showProgress(event.progress);
      } else if (event.kind === "result") {
        parts.push(event.result);
      }
    }
    return showResult(parts);
  } catch (error) {
    if (isCancelled) {
      console.error("cancelled");
      return 130;
    }
    return explain(error, isStarted);
  } finally {
    process.off("SIGINT", cancel);
    stream.cancel(); // leaving a `for await` loop does not: the server would work on
    client.close();
  }
}

function showProgress({ completed_count, total_count, failed_count, best }) {
  const best_so_far = best ? `, best ${TARGET} ${best.metrics[TARGET]}` : "";
  console.log(`${completed_count} of ${total_count}, ${failed_count} failed${best_so_far}`);
}

function showResult(parts) {
  const last = parts.at(-1);
  if (!last?.is_last_part) {
    console.error("error: the stream ended before the result did");
    return 1;
  }
  if (last.state !== "OPTIMIZATION_STATE_SUCCEEDED") {
    console.error(`error: ${last.state}: ${last.message}`);
    return 3;
  }
  const [count, best] = options.arrow ? arrowRanking(parts) : rowRanking(parts);
  console.log(`${count} results, ${last.failed_count} failed`);
  console.log("best", JSON.stringify(best));
  return 0;
}

function rowRanking(parts) {
  const rows = parts.flatMap((part) => part.ranked_results);
  const values = Object.entries(rows[0].parameters).map(([name, each]) => [name, each[each.kind]]);
  return [rows.length, { ...Object.fromEntries(values), [TARGET]: rows[0].metrics[TARGET] }];
}

// Each part is an Arrow stream of its own: of parts joined to one stream, a reader sees the first.
function arrowRanking(parts) {
  const streams = parts.map((part) => part.arrow_ranked_results).filter((bytes) => bytes.length);
  const [first, ...others] = streams.map((bytes) => tableFromIPC(bytes));
  const table = first.concat(...others);
  const { parameters, metrics } = table.get(0);
  const values = [...parameters].map(([name, each]) => [name, Number(each)]); // int64 is a BigInt
  return [table.numRows, { ...Object.fromEntries(values), [TARGET]: metrics[TARGET] }];
}

function explain(error, isStarted) {
  if (!(error instanceof Error && "metadata" in error)) throw error;
  const details = errorDetails(error.metadata);
  const { reason } = details["google.rpc.ErrorInfo"] ?? {};
  console.error(`error: ${error.details} (${reason || grpc.status[error.code]})`);
  for (const { field, description } of details["google.rpc.BadRequest"]?.field_violations ?? []) {
    console.error(`  ${field} ${description}`);
  }
  const delay = details["google.rpc.RetryInfo"]?.retry_delay;
  if (delay) console.error(`  ask again in ${delay.seconds} s`);
  switch (error.code) {
    case grpc.status.INVALID_ARGUMENT:
    case grpc.status.NOT_FOUND:
      return 2;
    case grpc.status.UNAVAILABLE:
      return isStarted ? 1 : 4;
    case grpc.status.RESOURCE_EXHAUSTED:
      return reason ? 4 : 1; // without a reason it is gRPC's own, such as a message too large
    default:
      return 1;
  }
}

// The details of a google.rpc.Status by type: ErrorInfo, BadRequest, RetryInfo.
function errorDetails(metadata) {
  const [bytes] = metadata.get("grpc-status-details-bin");
  if (bytes === undefined) return {};
  const { details } = definition["google.rpc.Status"].deserialize(bytes);
  const named = details.map(({ type_url, value }) => [type_url.split("/").at(-1), value]);
  return Object.fromEntries(
    named
      .filter(([name]) => name in definition)
      .map(([name, value]) => [name, definition[name].deserialize(value)]),
  );
}

process.exitCode = await main();
