// -- the event socket -------------------------------------------------------------------------------------------------

import {
  BEARER,
  CHANNELS_IN_ONE_EVENT,
  type ClientSettings,
  ConnectionClosed,
  currentToken,
  Deferred,
  isObject,
  type JsonObject,
  refusalOf,
  RequestError,
  within,
} from "./options.js";
import { BaseConnection } from "./connection.js";
import { parsed } from "./http.js";

/** Who and where a connection of the event socket is. */
export interface Whereabouts {
  client_id: string;
  root_id: string;
  channel_id: string;
  /** Why the token let nobody in. */
  auth_error?: string;
  /** Why the channel is another one. */
  channel_error?: string;
}

/** One connection for everything: named events, users, channels and other clients. `Data` is what others publish. */
export class EventSocket<Data = unknown> extends BaseConnection<Data> {
  readonly #waiting = new Map<string, Deferred<JsonObject>>();
  readonly #channels = new Set<string>();
  #whereabouts: Whereabouts | null = null;
  #isFirst = true;
  #isRefreshing = false;

  constructor(settings: ClientSettings, base: string, path: string) {
    super(settings, base + path, [BEARER]);
  }

  /** Who and where this connection is; null while there is none. */
  get whereabouts(): Whereabouts | null {
    return this.#whereabouts;
  }

  /** Hears channels, on this connection and on all that follow. Gives once the server has acknowledged it. */
  async subscribe(...channels: string[]): Promise<void> {
    await this.#changeChannels("subscribe", channels);
    for (const name of channels) this.#channels.add(name);
  }

  /** Hears channels no longer. */
  async unsubscribe(...channels: string[]): Promise<void> {
    for (const name of channels) this.#channels.delete(name);
    await this.#changeChannels("unsubscribe", channels);
  }

  /** Sends data to every connection of users, by their root ids. Nothing acknowledges it. */
  notifyUsers(rootIds: readonly string[], data: object): void {
    this.#send({ type: "user", root_ids: rootIds, data });
  }

  /** Sends data to every subscriber of channels. */
  notifyChannels(channelIds: readonly string[], data: object): void {
    this.#send({ type: "channel", channel_ids: channelIds, data });
  }

  /** Sends data to connections, by their client ids. */
  notifyClients(clientIds: readonly string[], data: object): void {
    this.#send({ type: "client", client_ids: clientIds, data });
  }

  /** Is the connection of a token's user from now on, or with null nobody's. The next one asks the `token` option. */
  async changeUser(token: string | null): Promise<Whereabouts> {
    const frame = await this.#ask({ type: "change_user", token });
    return (this.#whereabouts = frame["data"] as unknown as Whereabouts);
  }

  /** Calls what the server has under a name, and gives its reports. Typed as `call.NAME`. */
  async callByName(name: string, context: unknown): Promise<unknown[]> {
    const reply = await this.#ask({ type: "walker", walker: name, context: context ?? {}, response: true });
    return (reply["reports"] as unknown[] | undefined) ?? [];
  }

  #send(event: JsonObject): void {
    this.lasting.send(JSON.stringify(event));
  }

  #ask(event: JsonObject): Promise<JsonObject> {
    let isLate = false;
    const all = async (): Promise<JsonObject> => {
      await this.lasting.connected();
      if (isLate) throw this.lasting.ending;
      return await this.#begin(event);
    };
    return within(this.settings.timeoutSeconds, all(), String(event["type"])).finally(() => (isLate = true));
  }

  #begin(event: JsonObject): Promise<JsonObject> {
    const id = newId();
    const coming = new Deferred<JsonObject>();
    this.#waiting.set(id, coming);
    this.lasting.sendNow(JSON.stringify({ ...event, id }));
    return coming.promise;
  }

  async #changeChannels(type: string, channels: readonly string[]): Promise<void> {
    let isLate = false;
    const all = async (): Promise<void> => {
      while (!isLate) {
        await this.lasting.connected();
        try {
          await this.#begin({ type, channel_ids: channels });
          return;
        } catch (error) {
          // to be sent again, which does no harm to a subscription
          if (!(error instanceof ConnectionClosed) || this.state === "over") throw error;
        }
      }
    };
    await within(this.settings.timeoutSeconds, all(), type).finally(() => (isLate = true));
  }

  protected opened(): void {
    this.#isFirst = true;
    const names = [...this.#channels];
    for (let start = 0; start < names.length; start += CHANNELS_IN_ONE_EVENT) {
      const channel_ids = names.slice(start, start + CHANNELS_IN_ONE_EVENT);
      this.#begin({ type: "subscribe", channel_ids }).catch((error: unknown) => {
        if (error instanceof RequestError) this.hasFailed(error);
      });
    }
  }

  protected lost(error: ConnectionClosed): void {
    this.#whereabouts = null;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const each of waiting) each.reject(error);
  }

  protected arrived(data: string | Uint8Array): void {
    const message = parsed(typeof data === "string" ? data : new TextDecoder().decode(data));
    if (isObject(message) && this.#isHandled(message)) return;
    this.inbox.put(message as Data);
  }

  #isHandled(message: JsonObject): boolean {
    if (this.#isFirst && message["type"] === "connection") {
      // Only the first frame is surely the server's own: what clients send each other may look like any other
      this.#isFirst = false;
      this.#whereabouts = message["data"] as unknown as Whereabouts;
      return true;
    }
    const id = message["id"];
    const coming = typeof id === "string" ? this.#waiting.get(id) : undefined;
    if (coming !== undefined) {
      this.#waiting.delete(id as string);
      if ("error" in message) coming.reject(refusalOf(message["error"]));
      else coming.resolve(message);
      return true;
    }
    if (message["type"] === "token_expiring") void this.#refresh();
    if (!("error" in message) || typeof message["type"] !== "string") return false;
    this.hasFailed(refusalOf(message["error"]));
    return true;
  }

  /** Before the login ends, another token is asked for where a function gives them. */
  async #refresh(): Promise<void> {
    if (typeof this.settings.token !== "function" || this.#isRefreshing) return;
    this.#isRefreshing = true;
    try {
      const token = await currentToken(this.settings.token);
      if (token !== null) await this.changeUser(token);
    } catch (error) {
      if (error instanceof RequestError) this.hasFailed(error);
    } finally {
      this.#isRefreshing = false;
    }
  }
}

/** An id that no other client can guess. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
