package broker

import (
	"context"

	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// queueService implements QueueService.
type queueService struct {
	weftv1.UnimplementedQueueServiceServer
	loop *shard.Loop
}

// CreateQueue implements QueueService.
func (s *queueService) CreateQueue(ctx context.Context, req *weftv1.CreateQueueRequest) (*weftv1.CreateQueueResponse, error) {
	q, err := do[queue.QueueView](ctx, s.loop, &shard.CreateQueue{
		Namespace: orDefault(req.GetNamespace()), Name: req.GetQueue().GetName(),
	})
	if err != nil {
		return nil, err
	}
	return &weftv1.CreateQueueResponse{Queue: queueMessage(&q)}, nil
}

// GetQueue implements QueueService.
func (s *queueService) GetQueue(ctx context.Context, req *weftv1.GetQueueRequest) (*weftv1.GetQueueResponse, error) {
	q, err := do[queue.QueueView](ctx, s.loop, &shard.GetQueue{
		Namespace: orDefault(req.GetNamespace()), Name: req.GetName(),
	})
	if err != nil {
		return nil, err
	}
	return &weftv1.GetQueueResponse{Queue: queueMessage(&q)}, nil
}

// ListQueues implements QueueService.
func (s *queueService) ListQueues(ctx context.Context, req *weftv1.ListQueuesRequest) (*weftv1.ListQueuesResponse, error) {
	page, err := do[shard.QueuePage](ctx, s.loop, &shard.ListQueues{
		Namespace: orDefault(req.GetNamespace()), After: req.GetPageToken(), Max: pageSize(req.GetPageSize()),
	})
	if err != nil {
		return nil, err
	}
	resp := &weftv1.ListQueuesResponse{}
	for i := range page.Queues {
		resp.Queues = append(resp.Queues, queueMessage(&page.Queues[i]))
	}
	if page.More {
		resp.NextPageToken = page.Queues[len(page.Queues)-1].Name
	}
	return resp, nil
}

func queueMessage(q *queue.QueueView) *weftv1.Queue {
	return &weftv1.Queue{
		Name: q.Name, CreatedAt: timestamp(q.CreatedAt),
		Counts: &weftv1.QueueCounts{
			Scheduled: q.Counts[queue.Scheduled], Ready: q.Counts[queue.Ready], Running: q.Counts[queue.Running],
			Cancelling: q.Counts[queue.Cancelling], Succeeded: q.Counts[queue.Succeeded],
			Failed: q.Counts[queue.Failed], Cancelled: q.Counts[queue.Cancelled],
		},
	}
}
