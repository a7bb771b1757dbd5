// -- who hears what comes ---------------------------------------------------------------------------------------------

import { Deferred, QueueFull } from "./options.js";

/** Calls a listener; what it throws is reported as errors of listeners are, and stops nobody else. */
export function tell<T>(listeners: Iterable<(value: T) => unknown>, value: T): void {
  for (const listener of [...listeners]) {
    try {
      listener(value);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}

/** Messages for listeners and iterations; until the first of them they wait. */
export class Inbox<T> {
  readonly #listeners = new Set<(message: T) => unknown>();
  readonly #readers = new Set<InboxReader<T>>();
  #backlog: T[] = [];
  #wasRead = false;
  #end: { error: Error | null } | null = null;

  constructor(private readonly most: number) {}

  put(message: T): void {
    if (!this.#wasRead) {
      this.#backlog.push(message);
      if (this.#backlog.length > this.most) this.#backlog.shift();
      return;
    }
    tell(this.#listeners, message);
    for (const reader of this.#readers) reader.put(message);
  }

  listen(listener: (message: T) => unknown): () => void {
    const waiting = this.#takeBacklog();
    this.#listeners.add(listener);
    for (const message of waiting) tell([listener], message);
    return () => void this.#listeners.delete(listener);
  }

  read(): AsyncIterableIterator<T> {
    const reader: InboxReader<T> = new InboxReader<T>(this.most, this.#takeBacklog(), () => this.#readers.delete(reader));
    this.#readers.add(reader);
    if (this.#end !== null) reader.end(this.#end.error);
    return reader;
  }

  end(error: Error | null): void {
    this.#end = { error };
    for (const reader of this.#readers) reader.end(error);
  }

  #takeBacklog(): T[] {
    const waiting = this.#backlog;
    this.#backlog = [];
    this.#wasRead = true;
    return waiting;
  }
}

export class InboxReader<T> implements AsyncIterableIterator<T> {
  #waiting: Deferred<void> | null = null;
  #end: { error: Error | null } | null = null;

  constructor(
    private readonly most: number,
    private readonly queue: T[],
    private readonly leave: () => unknown,
  ) {}

  put(message: T): void {
    if (this.#end !== null) return;
    this.queue.push(message);
    if (this.queue.length > this.most) this.end(new QueueFull(`${this.most} messages wait to be read`));
    this.#waiting?.resolve();
  }

  end(error: Error | null): void {
    this.#end ??= { error };
    this.#waiting?.resolve();
  }

  async next(): Promise<IteratorResult<T>> {
    while (this.queue.length === 0 && this.#end === null) {
      this.#waiting = new Deferred();
      await this.#waiting.promise;
    }
    if (this.queue.length > 0) return { value: this.queue.shift() as T, done: false };
    this.leave();
    const error = this.#end?.error ?? null;
    this.#end = { error: null };
    if (error !== null) throw error;
    return { value: undefined, done: true };
  }

  async return(): Promise<IteratorResult<T>> {
    this.leave();
    this.end(null);
    return { value: undefined, done: true };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
