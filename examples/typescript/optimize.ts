// Optimize two moving averages on a Stratsweep server: progress, the best result, and what went wrong.
//
// npm ci && npm run build    (buf, which generates the code, is installed by `pip install buf-bin`)
// node build/optimize.js [--server 127.0.0.1:50051] [--strategy sma_cross] [--symbol SPY] [--arrow]
//
// Exit codes are those of the command line: 0 results, 1 connection lost, 2 refused, 3 nothing could
// be ranked, 4 no server or a busy one, 130 cancelled (Ctrl-C).

import { parseArgs } from "node:util";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { tableFromIPC } from "apache-arrow";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "./generated/google/rpc/error_details_pb.js";
import {
  type OptimizationResult,
  OptimizationState,
  type Progress,
} from "./generated/stratsweep/v1/optimization_event_pb.js";
import {
  OptimizationService,
  type OptimizeRequestSchema,
} from "./generated/stratsweep/v1/optimization_service_pb.js";
import { ResultFormat } from "./generated/stratsweep/v1/outcome_pb.js";

const TARGET = "sharpe_ratio";

type Ranking = { count: number; best: Record<string, unknown> };

const { values: options } = parseArgs({
  options: {
    server: { type: "string", default: "127.0.0.1:50051" },
    strategy: { type: "string", default: "sma_cross" },
    symbol: { type: "string", default: "SPY" },
    arrow: { type: "boolean", default: false },
  },
});

// The compiler refuses misspelled fields; what the server understood is in the started event.
const request: MessageInitShape<typeof OptimizeRequestSchema> = {
  config: {
    strategy: options.strategy,
    symbols: [options.symbol],
    parameters: [
      {
        name: "fast",
        values: { case: "integerRange", value: { start: 5n, stop: 50n, step: 5n } },
      },
      { name: "slow", values: { case: "integerList", value: { values: [100n, 150n, 200n] } } },
    ],
    constraints: ["fast < slow"],
    optimizationTarget: TARGET,
  },
  progressInterval: { nanos: 200_000_000 },
  resultFormat: options.arrow ? ResultFormat.ARROW : ResultFormat.ROWS,
};

async function main(): Promise<number> {
  const transport = createGrpcTransport({
    baseUrl: `http://${options.server}`,
    pingIntervalMs: 30_000, // a frozen server is noticed; not below 1,000
    pingTimeoutMs: 10_000,
  });
  const client = createClient(OptimizationService, transport);
  const controller = new AbortController();
  const cancel = () => controller.abort();
  process.once("SIGINT", cancel);
  const parts: OptimizationResult[] = [];
  let isStarted = false;
  try {
    for await (const { event } of client.optimize(request, { signal: controller.signal })) {
      switch (event?.kind.case) {
        case "started": {
          const { totalCount, config } = event.kind.value;
          console.log(`${totalCount} combinations`, JSON.stringify(config?.symbols));
          isStarted = true;
          break;
        }
        case "progress":
          showProgress(event.kind.value);
          break;
        case "result":
          parts.push(event.kind.value);
      }
    }
    return showResult(parts);
  } catch (error) {
    if (controller.signal.aborted) {
      console.error("cancelled");
      return 130;
    }
    return explain(ConnectError.from(error), isStarted);
  } finally {
    process.off("SIGINT", cancel);
    controller.abort(); // however the loop was left, the server works for it no longer
  }
}

function showProgress({ completedCount, totalCount, failedCount, best }: Progress): void {
  const bestSoFar = best ? `, best ${TARGET} ${best.metrics[TARGET]}` : "";
  console.log(`${completedCount} of ${totalCount}, ${failedCount} failed${bestSoFar}`);
}

function showResult(parts: OptimizationResult[]): number {
  const last = parts.at(-1);
  if (!last?.isLastPart) {
    console.error("error: the stream ended before the result did");
    return 1;
  }
  if (last.state !== OptimizationState.SUCCEEDED) {
    console.error(`error: OPTIMIZATION_STATE_${OptimizationState[last.state]}: ${last.message}`);
    return 3;
  }
  const { count, best } = options.arrow ? arrowRanking(parts) : rowRanking(parts);
  console.log(`${count} results, ${last.failedCount} failed`);
  console.log("best", JSON.stringify(best));
  return 0;
}

function rowRanking(parts: OptimizationResult[]): Ranking {
  const rows = parts.flatMap((part) => part.rankedResults);
  const best = rows[0];
  const values = Object.entries(best?.parameters ?? {}).map(([name, { kind }]) => [
    name,
    kind.case === "integerValue" ? Number(kind.value) : kind.value, // int64 is a BigInt
  ]);
  return {
    count: rows.length,
    best: { ...Object.fromEntries(values), [TARGET]: best?.metrics[TARGET] },
  };
}

// Each part is an Arrow stream of its own: of parts joined to one stream, a reader sees the first.
function arrowRanking(parts: OptimizationResult[]): Ranking {
  const streams = parts.map((part) => part.arrowRankedResults).filter((bytes) => bytes.length);
  const table = streams
    .map((bytes) => tableFromIPC(bytes))
    .reduce((whole, part) => whole.concat(part));
  const { parameters, metrics } = table.get(0)!.toJSON();
  const values = [...parameters].map(([name, each]) => [name, Number(each)]); // int64 is a BigInt
  return {
    count: table.numRows,
    best: { ...Object.fromEntries(values), [TARGET]: metrics[TARGET] },
  };
}

function explain(error: ConnectError, isStarted: boolean): number {
  const [info] = error.findDetails(ErrorInfoSchema);
  console.error(`error: ${error.rawMessage} (${info?.reason ?? Code[error.code]})`);
  for (const { fieldViolations } of error.findDetails(BadRequestSchema)) {
    for (const { field, description } of fieldViolations) {
      console.error(`  ${field} ${description}`);
    }
  }
  for (const { retryDelay } of error.findDetails(RetryInfoSchema)) {
    console.error(`  ask again in ${retryDelay?.seconds} s`);
  }
  switch (error.code) {
    case Code.InvalidArgument:
    case Code.NotFound:
      return 2;
    case Code.Unavailable:
      return isStarted ? 1 : 4;
    case Code.ResourceExhausted:
      return info ? 4 : 1; // without a reason it is gRPC's own, such as a message too large
    default:
      return 1; // a lost connection may be Canceled, too
  }
}

process.exitCode = await main();
