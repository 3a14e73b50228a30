/** A committee by its hash. */
export interface Pin {
  /** The network id: 32 bytes in hex. */
  network_id: string;
  /** The epoch that the committee votes in. */
  epoch: number;
  /** The committee's hash: 32 bytes in hex. */
  committee_hash: string;
  /** When its stake was last known to be bonded, in milliseconds since 1970. It is of use for seven days from there. */
  as_of: number;
}

/** What is asked. Give exactly one of `genesis`, `committee` and `pin`: what you trust. */
export interface Question {
  /** A confirmation as operators give it: by itself, within an answer of `squad_*`, or within a whole JSON-RPC answer. */
  confirmation: unknown;
  /** The genesis of the network; its first committee is trusted. */
  genesis?: unknown;
  /** A committee file, as `squad verify --save-committee` writes it. */
  committee?: unknown;
  /** A committee's hash; `proofs` then begins with the one for its epoch. */
  pin?: Pin;
  /** Proofs of later committees in hex, in order, as `squad_getCommitteeProof` gives them. They need not be trusted. */
  proofs?: string[];
  /** The transaction's bytes in hex, if the confirmation has to be of these. */
  data?: string;
  /** The time to check at, in milliseconds since 1970; this machine's clock, if it is not given. */
  now?: number;
}

/** What holds. */
export interface Valid {
  valid: true;
  /** How firm the transaction is. */
  tier: "batched" | "secured" | "ordered";
  /** The transaction's id: 32 bytes in hex. */
  id: string;
  /** The epoch whose committee answers for it. */
  epoch: number;
  /** The transaction: its namespace, validity in chain time, and the hash of its bytes. */
  transaction: { namespace: number; valid_until: number | null; hash: string };
  /** Where it stands, while it is not ordered yet. */
  batch?: { operator: string; sequence: number };
  /** Where it stands for good: the header's height, hash and timestamp (milliseconds since 1970), and its place among its namespace's transactions. */
  block?: { height: number; hash: string; timestamp: number; index: number };
}

/** What does not hold. */
export interface Invalid {
  valid: false;
  /** The part that does not hold, in a stable word. */
  part: string;
  /** Why, for people. */
  reason: string;
}

/** A loaded verifier. */
export interface Verifier {
  /** Checks a confirmation. Never throws for what is in it. */
  verify(question: Question): Valid | Invalid;
}

/** Loads the verifier; from `bytes`, where they are given, else from the file beside this one. */
export function load(bytes?: BufferSource): Promise<Verifier>;
