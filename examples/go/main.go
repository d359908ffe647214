// Optimize two moving averages on a Stratsweep server: progress, the best result, and what went wrong.
//
//	mkdir -p generated
//	protoc -I ../../protos --go_out=generated --go-grpc_out=generated ../../protos/stratsweep/v1/*.proto
//	go mod tidy
//	go run . [-server 127.0.0.1:50051] [-strategy sma_cross] [-symbol SPY]
//
// Exit codes are those of the command line: 0 results, 1 connection lost, 2 refused, 3 nothing could
// be ranked, 4 no server or a busy one, 130 cancelled (Ctrl-C).
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	stratsweepv1 "example/generated/stratsweep/v1"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

const target = "sharpe_ratio"

var (
	server   = flag.String("server", "127.0.0.1:50051", "where the server listens")
	strategy = flag.String("strategy", "sma_cross", "what to optimize")
	symbol   = flag.String("symbol", "SPY", "what to trade")
)

func main() {
	flag.Parse()
	os.Exit(run())
}

func run() int {
	// Work on the server ends with the context: at Ctrl-C, and however this function is left.
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	// From gRPC 1.63 on these are grpc.NewClient and insecure.NewCredentials.
	connection, err := grpc.Dial(
		*server,
		grpc.WithInsecure(),
		// A frozen server is noticed.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
	)
	if err != nil {
		return explain(err, false)
	}
	defer connection.Close()
	stream, err := stratsweepv1.NewOptimizationServiceClient(connection).Optimize(ctx, request())
	if err != nil {
		return explain(err, false)
	}
	isStarted := false
	var parts []*stratsweepv1.OptimizationResult
	for {
		response, err := stream.Recv()
		if err == io.EOF {
			return showResult(parts)
		}
		if ctx.Err() != nil {
			fmt.Fprintln(os.Stderr, "cancelled")
			return 130
		}
		if err != nil {
			return explain(err, isStarted)
		}
		switch kind := response.GetEvent().GetKind().(type) {
		case *stratsweepv1.OptimizationEvent_Started:
			isStarted = true
			fmt.Println(kind.Started.GetTotalCount(), "combinations", kind.Started.GetConfig().GetSymbols())
		case *stratsweepv1.OptimizationEvent_Progress:
			showProgress(kind.Progress)
		case *stratsweepv1.OptimizationEvent_Result:
			parts = append(parts, kind.Result)
		}
	}
}

func request() *stratsweepv1.OptimizeRequest {
	fast := &stratsweepv1.IntegerRange{Start: 5, Stop: 50}
	step := int64(5)
	fast.Step = &step
	slow := &stratsweepv1.IntegerList{Values: []int64{100, 150, 200}}
	return &stratsweepv1.OptimizeRequest{
		Config: &stratsweepv1.OptimizationConfig{
			Strategy: *strategy,
			Symbols:  []string{*symbol},
			Parameters: []*stratsweepv1.Parameter{
				{Name: "fast", Values: &stratsweepv1.Parameter_IntegerRange{IntegerRange: fast}},
				{Name: "slow", Values: &stratsweepv1.Parameter_IntegerList{IntegerList: slow}},
			},
			Constraints:        []string{"fast < slow"},
			OptimizationTarget: target,
		},
		ProgressInterval: durationpb.New(200 * time.Millisecond),
	}
}

func showProgress(progress *stratsweepv1.Progress) {
	best := ""
	if progress.GetBest() != nil {
		best = fmt.Sprintf(", best %s %v", target, progress.GetBest().GetMetrics()[target])
	}
	fmt.Printf("%d of %d, %d failed%s\n",
		progress.GetCompletedCount(), progress.GetTotalCount(), progress.GetFailedCount(), best)
}

func showResult(parts []*stratsweepv1.OptimizationResult) int {
	if len(parts) == 0 || !parts[len(parts)-1].GetIsLastPart() {
		fmt.Fprintln(os.Stderr, "error: the stream ended before the result did")
		return 1
	}
	last := parts[len(parts)-1]
	if last.GetState() != stratsweepv1.OptimizationState_OPTIMIZATION_STATE_SUCCEEDED {
		fmt.Fprintf(os.Stderr, "error: %s: %s\n", last.GetState(), last.GetMessage())
		return 3
	}
	var rows []*stratsweepv1.ParameterResult
	for _, part := range parts {
		rows = append(rows, part.GetRankedResults()...)
	}
	best := map[string]interface{}{target: rows[0].GetMetrics()[target]}
	for name, value := range rows[0].GetParameters() {
		best[name] = value.GetIntegerValue()
	}
	text, err := json.Marshal(best)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%d results, %d failed\nbest %s\n", len(rows), last.GetFailedCount(), text)
	return 0
}

func explain(err error, isStarted bool) int {
	failed := status.Convert(err)
	reason := ""
	lines := ""
	for _, detail := range failed.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			reason = detail.GetReason()
		case *errdetails.BadRequest:
			for _, violation := range detail.GetFieldViolations() {
				lines += fmt.Sprintf("  %s %s\n", violation.GetField(), violation.GetDescription())
			}
		case *errdetails.RetryInfo:
			lines += fmt.Sprintf("  ask again in %d s\n", detail.GetRetryDelay().GetSeconds())
		}
	}
	name := reason
	if name == "" {
		name = failed.Code().String()
	}
	fmt.Fprintf(os.Stderr, "error: %s (%s)\n%s", failed.Message(), name, lines)
	switch failed.Code() {
	case codes.InvalidArgument, codes.NotFound:
		return 2
	case codes.Unavailable:
		if !isStarted {
			return 4
		}
	case codes.ResourceExhausted:
		if reason != "" { // without one it is gRPC's own, such as a message too large
			return 4
		}
	}
	return 1
}
