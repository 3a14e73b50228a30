use super::*;
use crate::api::tests::Served;
use crate::cli::operator::tests::{Place, me};
use crate::cli::{Cli, Command};
use crate::config::Limits;
use clap::Parser as _;
use squad_types::{EcdsaSigner, HeaderHash, Height, Round, Signed, Verified, Vote, VoteKind, VotePair};

fn vote(network: NetworkId, block: u8) -> Signed<Vote> {
    let signer = EcdsaSigner::from_secret([4; 32]).unwrap();
    let block = Some(HeaderHash([block; 32]));
    let vote = Vote { kind: VoteKind::Prevote, height: Height(8), round: Round(2), block };
    Verified::sign(vote, &Domain::new(network), &signer).into_signed()
}

fn file(dir: &Path, change: impl FnOnce(&mut EvidenceFile)) -> CheckArgs {
    let network = NetworkId([3; 32]);
    let evidence = Evidence::Votes(VotePair { first: vote(network, 1), second: vote(network, 2) });
    let Checked { accused, incident, what, .. } = check(&evidence, network).unwrap();
    assert_eq!(what, "two prevotes at height 8, round 2");
    let bytes = format!("0x{}", hex::encode(evidence.to_bytes()));
    let mut file = EvidenceFile { network, accused, incident, bytes };
    change(&mut file);
    let path = dir.join("evidence.json");
    std::fs::write(&path, serde_json::to_string(&file).unwrap()).unwrap();
    CheckArgs { file: path, genesis: None }
}

fn refused(change: impl FnOnce(&mut EvidenceFile)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let args = file(dir.path(), change);
    format!("{:#}", verify(&args, Output { json: true }).unwrap_err())
}

fn list_of(served: &Served, dir: &Path) -> ListArgs {
    ListArgs { remote: RemoteArgs { rpc: served.url("") }, out: Some(dir.to_owned()) }
}

#[tokio::test]
async fn what_an_operator_knows_becomes_files_that_need_no_operator() {
    let served = Served::new(Limits::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("evidence");
    let output = Output { json: true };
    list(list_of(&served, &out), output).await.unwrap();
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0);
    let status: NodeStatus = Remote::new(&served.url("")).unwrap().call("squad_status", Vec::new()).await.unwrap();
    let network = status.network_id;
    served.node.catch(Evidence::Votes(VotePair { first: vote(network, 1), second: vote(network, 2) }));
    // The same incident, proved by another pair: one file.
    served.node.catch(Evidence::Votes(VotePair { first: vote(network, 3), second: vote(network, 1) }));
    list(list_of(&served, &out), output).await.unwrap();
    let files: Vec<PathBuf> = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    assert_eq!(verify(&CheckArgs { file: files[0].clone(), genesis: None }, output).unwrap(), ExitCode::SUCCESS);
    // An operator that shows what proves nothing is not believed.
    served.node.catch(Evidence::Votes(VotePair { first: vote(network, 1), second: vote(network, 1) }));
    let error = format!("{:#}", list(list_of(&served, &out), output).await.unwrap_err());
    assert!(error.contains("shows evidence that does not hold"), "{error}");
}

#[test]
fn a_file_is_believed_only_as_far_as_its_bytes_go() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(verify(&file(dir.path(), |_| {}), Output { json: true }).unwrap(), ExitCode::SUCCESS);
    assert!(refused(|file| file.network = NetworkId([4; 32])).contains("proves nothing"));
    assert!(refused(|file| file.accused = Address([1; 20])).contains("says that it accuses"));
    assert!(refused(|file| file.incident = IncidentId([1; 32])).contains("says that it accuses"));
    assert!(refused(|file| file.bytes = "0xzz".to_owned()).contains("no hex"));
    assert!(refused(|file| file.bytes.push('0')).contains("no hex"));
    assert!(refused(|file| file.bytes.truncate(40)).contains("no evidence"));
    let missing = CheckArgs { file: dir.path().join("none"), genesis: None };
    assert!(format!("{:#}", verify(&missing, Output { json: true }).unwrap_err()).contains("none"));
}

/// A file about somebody who is registered in the place's network, and the id of the incident.
fn caught(place: &Place, network: NetworkId) -> squad_l1::B256 {
    let key = EcdsaSigner::from_secret([4; 32]).unwrap();
    let key = squad_types::Signer::address(&key).0.into();
    place.restaked(|restaked| restaked.join(squad_l1::Address::repeat_byte(0x44), key, [40, 0]));
    let evidence = Evidence::Votes(VotePair { first: vote(network, 1), second: vote(network, 2) });
    let Checked { accused, incident, .. } = check(&evidence, network).unwrap();
    let file = EvidenceFile { network, accused, incident, bytes: format!("0x{}", hex::encode(evidence.to_bytes())) };
    std::fs::write(place.at("evidence.json"), serde_json::to_string(&file).unwrap()).unwrap();
    incident.0.into()
}

async fn typed(place: &Place, text: &str) -> Result<(), String> {
    let cli = Cli::try_parse_from(place.line("evidence", text)).map_err(|error| error.to_string())?;
    let Command::Evidence(command) = cli.command else { panic!("another command") };
    Box::pin(run(command, Output { json: true })).await.map(|_| ()).map_err(|error| format!("{error:#}"))
}

async fn fails(place: &Place, text: &str) -> String {
    let sent = place.sent();
    let error = typed(place, text).await.unwrap_err();
    assert_eq!(place.sent(), sent, "{error}");
    error
}

fn slashed(place: &Place, incident: squad_l1::B256) -> Option<squad_l1::testing::Slash> {
    place.chains[0].lock().unwrap().restaked.as_ref().unwrap().slashed.get(&incident).copied()
}

const SUBMIT: &str = "submit @evidence.json --account @account --insecure-plaintext-account --yes";

#[tokio::test]
async fn evidence_takes_stake_once_and_what_would_be_refused_is_said_before() {
    let place = Place::new().await;
    let network = crate::cli::operator::tests::genesis().network_id();
    caught(&place, NetworkId([3; 32]));
    assert!(fails(&place, SUBMIT).await.contains("its slasher would refuse it"));
    assert!(fails(&place, "show @evidence.json").await.contains("is about network"));
    let incident = caught(&place, network);
    assert!(fails(&place, &format!("{SUBMIT} --claim")).await.contains("burns what it slashes"));
    typed(&place, "show @evidence.json").await.unwrap();
    typed(&place, &format!("{SUBMIT} --dry-run")).await.unwrap();
    assert_eq!((place.sent(), slashed(&place, incident)), (0, None));
    typed(&place, SUBMIT).await.unwrap();
    assert_eq!(slashed(&place, incident).unwrap().0, squad_l1::Address::repeat_byte(0x44));
    assert!(fails(&place, SUBMIT).await.contains("was slashed for it in block 103"));
    typed(&place, "show @evidence.json").await.unwrap();

    // Whoever left long ago has nothing to take; whoever never registered neither.
    place.restaked(|restaked| {
        restaked.slashed.clear();
        restaked.operators.get_mut(&squad_l1::Address::repeat_byte(0x44)).unwrap().left = Some(0);
    });
    place.change(|chain| chain.finalized += u64::from(squad_l1::testing::DELAY));
    assert!(fails(&place, SUBMIT).await.contains("its stake is free"));
    place.restaked(|restaked| restaked.keys.clear());
    assert!(fails(&place, SUBMIT).await.contains("nobody ever registered the key"));
}

#[tokio::test]
async fn a_reporter_commits_slashes_claims_and_is_paid_and_can_go_on_in_between() {
    let place = Place::new().await;
    let network = crate::cli::operator::tests::genesis().network_id();
    let incident = caught(&place, network);
    place.restaked(|restaked| restaked.pays = true);
    let claim = format!("{SUBMIT} --claim");
    typed(&place, &format!("{claim} --dry-run")).await.unwrap();
    assert_eq!(place.sent(), 0);
    typed(&place, &claim).await.unwrap();
    assert_eq!(slashed(&place, incident).unwrap().2, me());
    // commit, slash, claim, and pay for each of two tokens.
    assert_eq!(place.sent(), 5);

    // Slashed by somebody between the commitment and now: the bounty is still whose commitment was first.
    place.restaked(|restaked| {
        restaked.slashed.get_mut(&incident).unwrap().2 = squad_l1::Address::ZERO;
        restaked.paid.clear();
    });
    typed(&place, &claim).await.unwrap();
    assert_eq!((place.sent(), slashed(&place, incident).unwrap().2), (8, me()));
    // Nobody's commitment, nobody's bounty.
    place.restaked(|restaked| {
        restaked.commitments.clear();
        restaked.slashed.get_mut(&incident).unwrap().2 = squad_l1::Address::ZERO;
    });
    assert!(fails(&place, &claim).await.contains("had not committed to this evidence"));
    let somebody = squad_l1::Address::repeat_byte(0x66);
    place.restaked(|restaked| restaked.slashed.get_mut(&incident).unwrap().2 = somebody);
    assert!(fails(&place, &claim).await.contains("who claimed it first"));
}
