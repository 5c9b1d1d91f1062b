/**
 * Long work gives way now and then, so that a worker hears that nobody waits for it any more; and
 * jobs that compute take turns.
 */

const SLICE = 40; // milliseconds

/** One job computes at a time, in the order of asking. */
export class Turns {
  private last: Promise<unknown> = Promise.resolve();

  take<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.last.then(work);
    this.last = mine.catch(() => {});
    return mine;
  }
}

/** The pauses of one job. */
export class Pause {
  private since = performance.now();

  constructor(private signal?: AbortSignal, private turns = new Turns()) {}

  /** Whether the work has gone on for long enough. */
  get due(): boolean {
    return performance.now() - this.since > SLICE;
  }

  /** Let messages in. Raises AbortError where the work is not wanted any more. */
  async rest(): Promise<void> {
    await new Promise<void>((resolve) => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        port1.close();
        resolve();
      };
      port2.postMessage(null);
    });
    this.since = performance.now();
    this.signal?.throwIfAborted();
  }

  /** Do a piece of work while no other job computes. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    return this.turns.take(() => {
      this.signal?.throwIfAborted();
      return work();
    });
  }
}
